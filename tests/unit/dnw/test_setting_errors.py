"""What is said of a setting that isn't one, or of a value that it can't have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from example import train
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dnw.config import ConfigError, Train
from dnw.ranges import STRICT
from dnw.setting_errors import explain, known_keys, no_such_setting

KNOWN = known_keys(Train)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    size: Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    inner: Inner
    pair: tuple[float, float]
    places: tuple[int, ...]
    folder: Path
    small: Annotated[float, Field(le=3.4e38)]


RIGHT: dict[str, Any] = {"inner": {"size": 1}, "pair": [1, 2], "places": [1], "folder": "x", "small": 1}


def said(**changes: Any) -> list[str]:
    values = {key: value for key, value in {**RIGHT, **changes}.items() if value is not None}
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Outer).validate_python(values)
    return explain(refused.value.errors(), known_keys(Outer))


def test_keys_are_dotted() -> None:
    assert known_keys(Outer) == ["inner", "inner.size", "pair", "places", "folder", "small"]
    assert {"optim", "optim.lr", "wiring.name"} <= set(KNOWN)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("widht", "widht: no such setting; did you mean width?"),
        ("lr", "lr: no such setting; did you mean optim.lr?"),
        ("name", "name: no such setting; did you mean model.name or wiring.name or data.name?"),
        ("zzzz", "zzzz: no such setting"),
        ("version", "version: no setting, but the format of config.yaml; leave it out"),
    ],
)
def test_a_key_that_is_none(key: str, meant: str) -> None:
    assert no_such_setting(key, KNOWN) == meant


def test_what_the_launcher_fills_in_is_not_offered() -> None:
    assert "data.train_fingerprint" in KNOWN
    assert no_such_setting("train_fingerprint", KNOWN) == "train_fingerprint: no such setting"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"inner": {"size": 0}}, "inner.size: must be greater than 0 (got 0)"),
        ({"inner": {"sise": 1, "size": 1}}, "inner.sise: no such setting; did you mean inner.size?"),
        ({"folder": None}, "folder: must be set"),
        ({"pair": [1]}, "pair: must have 2 values (got [1])"),
        ({"pair": [1, 2, 3]}, "pair: must have 2 values (got [1, 2, 3])"),
        ({"places": 5}, "places: must be a list (got 5), in brackets: 'places=[5]'"),
        ({"places": False}, "places: must be a list (got False), in brackets: 'places=[]'"),
        ({"places": "a b"}, """places: must be a list (got 'a b'), in brackets: 'places=["a b"]'"""),
        ({"folder": 5}, "folder: must be the name of a folder (got 5)"),
        ({"small": 1e39}, "small: must be less than or equal to 3.4e+38 (got 1e+39)"),
    ],
)
def test_a_value_that_a_setting_cannot_have(changes: dict[str, Any], line: str) -> None:
    assert said(**changes) == [line]


def test_one_line_for_each_setting() -> None:
    assert [line.partition(":")[0] for line in said(pair=["a", "b"], small="x")] == ["pair", "small"]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("randaugmnt", "; here it is augment.randaugment_ops=2, or augment.trivial=true"),
        ("TrivialAugmentWide", "; here it is augment.trivial=true"),
        ("cutmix", "; here it is augment.cutmix=ALPHA"),
        ("crop_flp", "; did you mean crop_flip?"),
        ("xyz", ""),
    ],
)
def test_an_augmentation_that_has_settings_of_its_own(value: str, meant: str) -> None:
    with pytest.raises(ConfigError) as refused:
        train(data__augment=value)
    told = f"data.augment: must be 'none', 'crop_flip' or 'resized_crop_flip' (got '{value}')"
    assert str(refused.value) == f"{told}{meant}"
