from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from example import train

from dnw.compose import training
from dnw.config import ConfigError, Train, parse, plain
from dnw.identity import signature


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"trivial": True, "randaugment_ops": 1}, "leave one of augment.trivial and augment.randaugment_ops"),
        ({"randaugment_magnitude": 10}, "of no use without augment.randaugment_ops=2"),
        ({"randaugment_ops": 15}, "augment.randaugment_ops: must be less than or equal to 14"),
        ({"sizes": [[0, 24], [0, 32]]}, "augment.sizes: epochs must rise (got 0, 0)"),
        ({"sizes": [[0, 8]]}, "augment.sizes: must be at least 16 for the static network (got 8)"),
        ({"sizes": [[0]]}, "augment.sizes: must have 2 values"),
        ({"color_jitter": -0.1}, "augment.color_jitter: must be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_trained_with_is_refused(augment: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        train(augment=augment)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("changes", [{"augment": {"sizes": [[0, 128]]}}, {"data__eval_size": 256}])
def test_a_network_of_one_size_gets_no_other(changes: dict[str, Any]) -> None:
    network: dict[str, Any] = {"model__name": "torchvision/vit_b_16", "width": None, "sparsity": 0.5}
    train(**network, data__image_size=224)
    with pytest.raises(ConfigError, match=r"takes images of data.image_size=224 alone \(got (128|256)\)"):
        train(**network, data__image_size=224, **changes)


def test_a_run_without_augmentation_is_the_one_that_it_was_before_there_was_any() -> None:
    values = plain(train())
    del values["augment"], values["data"]["eval_size"]
    assert signature(parse(values)) == signature(train()) == "3f6fa8f9e0"


@pytest.mark.parametrize(
    "augment",
    [
        {"randaugment_ops": 2},
        {"trivial": True},
        {"color_jitter": 0.4},
        {"random_erase": 0.1},
        {"mixup": 0.2},
        {"cutmix": 1.0},
    ],
)
def test_a_run_with_augmentation_is_another(augment: dict[str, Any]) -> None:
    assert signature(train(augment=augment)) != signature(train())


def shown() -> list[Train]:
    """What each `python launch/local.py` in docs/augmentation.md trains."""
    page = Path(__file__).parents[4] / "docs" / "augmentation.md"
    lines = re.findall(r"^    python launch/local.py (.*)$", page.read_text(), re.MULTILINE)
    return [training(shlex.split(line)) for line in lines]


def test_each_line_of_the_documentation_trains_another_run() -> None:
    assert (
        len({signature(one) for one in shown()} | {signature(training(["+exp=demo_dnw"]))})
        == len(shown()) + 1
    )
