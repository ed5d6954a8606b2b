"""docs/reproduce.md: every experiment has a row, and what the row says is so."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from dnw import models
from dnw.compose import training
from dnw.config import Train
from dnw.profile import profile
from launch.commands.published import published
from launch.commands.table import count

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "reproduce.md").read_text()
MADE_HERE = {"demo_dnw", "demo_random", "self_test"}  # not the paper's
SAMPLES = {"cifar10": 50_000, "imagenet": 1_281_167}
QUICK = (
    "static_random",
    "discrete_dnw",
    "cifar_dnw",
    "cifar_mobilenet_v1",
    "imagenet_small_x15",
    "resnet50_td",
)


def rows() -> dict[str, list[str]]:
    """The cells after the first one of each row, by the words in it."""
    found = re.findall(r"^\| `(\+exp=[^`]+)` \|(.*)\|$", TEXT, re.MULTILINE)
    return {words: [cell.strip() for cell in cells.split("|")] for words, cells in found}


@cache
def train_of(words: str) -> Train:
    return training(words.split())


def test_every_experiment_is_there() -> None:
    experiments = {path.stem for path in (ROOT / "configs" / "exp").glob("*.yaml")} - MADE_HERE
    shown = set(re.findall(r"\+exp=(\w+)", TEXT))
    assert experiments == shown, "give it a row in docs/reproduce.md, or name it in MADE_HERE"


@pytest.mark.parametrize("words", rows())
def test_published_figures(words: str) -> None:
    cells, theirs = rows()[words], published(train_of(words))
    if theirs is None:
        assert len(cells) == 2 or cells[0] == ""
        return
    spread = "" if theirs.spread is None else f" ± {theirs.spread}"
    assert cells[0] == f"{theirs.top1:.1f}{spread}"
    if theirs.params is not None and theirs.macs is not None:
        assert cells[1:3] == [count(round(theirs.params)), count(round(theirs.macs))]


@pytest.mark.parametrize("words", [words for words in rows() if words.removeprefix("+exp=") in QUICK])
def test_costs(words: str) -> None:
    train = train_of(words)
    costs = profile(models.build(train), train.data.image_size)
    assert rows()[words][-2:] == [count(costs.params), count(costs.macs)]


def test_steps() -> None:
    from dnw.schedule import total_steps

    for words in rows():
        train = train_of(words)
        assert f"{total_steps(train, SAMPLES[train.data.name]):,} steps of {train.batch} images" in TEXT
