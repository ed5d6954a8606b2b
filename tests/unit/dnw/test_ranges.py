"""No number of any setting, present or to come, may be inf or nan, or one that becomes so in float32."""

from __future__ import annotations

import copy
import dataclasses
import math
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from example import values
from pydantic import TypeAdapter

from dnw.config import ConfigError, Train, parse, parse_as
from dnw.schedule import check_length
from launch.config import Launch

NOT_FINITE = (math.inf, -math.inf, math.nan, "inf", "-Infinity", "nan", float("1e999"))
LAUNCH: dict[str, Any] = {
    "nodes": 1,
    "nproc": 1,
    "runs_dir": "runs",
    "fresh": False,
    "dry_run": False,
    "port": None,
    "notify": {},
    "self_test": {},
    "cluster": {"name": "slurm", "grace_s": 60},
}


def numbers(kind: Any, prefix: str = "") -> Iterator[tuple[str, Callable[[object], object]]]:
    """Every setting that holds numbers, dotted, and how a number is put into its value."""
    for field in dataclasses.fields(kind):
        key, hint = f"{prefix}{field.name}", typing.get_type_hints(kind)[field.name]
        inner = [one for one in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(one)]
        if inner:
            yield from numbers(inner[0], f"{key}.")
            continue
        for put in (_alone, _listed, _thrice, _named):
            try:
                TypeAdapter(hint).validate_python(put(1.0))
            except ValueError:
                continue
            if hint not in {bool, bool | str}:  # a file may have any name
                yield key, put
                break


def _alone(number: object) -> object:
    return number


def _listed(number: object) -> object:
    return [number]


def _thrice(number: object) -> object:
    return [0.5, 0.5, number]


def _named(number: object) -> object:
    return {"x": number}


def _with(whole: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(whole)
    *groups, last = key.split(".")
    inner = changed
    for group in groups:
        inner = inner.setdefault(group, {})
    inner[last] = value
    return changed


EVERY = [
    *((Train, values(), key, put) for key, put in numbers(Train)),
    *((Launch, LAUNCH, key, put) for key, put in numbers(Launch)),
]


def test_the_search_finds_each_form_of_number() -> None:
    found = {key for _, _, key, _ in EVERY}
    assert len(found) >= 40
    assert found >= {"optim.lr", "epochs", "width", "seed", "data.std", "optim.milestones"}
    assert found >= {"nodes", "port", "cluster.mem_gb", "cluster.additional_parameters"}


@pytest.mark.parametrize("number", NOT_FINITE, ids=str)
@pytest.mark.parametrize(("kind", "whole", "key", "put"), EVERY, ids=[key for _, _, key, _ in EVERY])
def test_what_is_not_finite_is_refused_in_one_line(
    kind: Any, whole: dict[str, Any], key: str, put: Callable[[object], object], number: object
) -> None:
    if key == "cluster.additional_parameters" and isinstance(number, str):
        return  # a text, which is sbatch's
    with pytest.raises(ConfigError) as refused:
        parse_as(kind, _with(whole, key, put(number)))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{key}: must be ")
    if key == "cluster.additional_parameters":
        assert "finite" in line


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.std", [0, 0, 0], "data.std: must be greater than or equal to 1e-06 (got 0)"),
        ("data.std", [0.2, 0.2, 1e-50], "data.std: must be greater than or equal to 1e-06 (got 1e-50)"),
        ("optim.lr", 1e300, "optim.lr: must be less than or equal to 3.4e+38 (got 1e+300)"),
        ("optim.weight_decay", 1e39, "optim.weight_decay: must be less than or equal to 3.4e+38"),
        ("data.cache_gb", 1e300, "data.cache_gb: must be less than or equal to 1e+09 (got 1e+300)"),
        ("watchdog.seconds", 1e300, "watchdog.seconds: must be less than or equal to 1e+09"),
        ("steps", 10**8, "steps: must be less than or equal to 99999999 (got 100000000)"),
        ("batch", 10**12, "batch: must be less than or equal to 2147483647"),
    ],
)
def test_what_can_not_be_computed_with_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(_with(values(), key, value))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_rate_that_leaves_float32_at_its_milestones_is_refused() -> None:
    changes = {"optim__schedule": "multistep", "optim__milestones": [1, 2], "optim__gamma": 1e20}
    with pytest.raises(ConfigError, match=r"optim\.gamma: 1e\+20 at each of 2 milestones"):
        parse(values(**changes))
    assert parse(values(**changes | {"optim__gamma": 1e19})).optim.gamma == 1e19


def test_epochs_are_no_more_steps_than_can_be_numbered() -> None:
    train = parse(values(steps=None, epochs=1e6, data__dir=Path("x")))
    check_length(train, 3199)
    with pytest.raises(ConfigError, match=r"epochs: 1e\+06 of 3,200 images .* are 1e\+08 steps; at most 99,"):
        check_length(train, 3200)
