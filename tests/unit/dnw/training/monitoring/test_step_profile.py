"""Steps that torch's profiler records: which, what is written, and that nothing else changes."""

from __future__ import annotations

import gzip
import json
import logging
import re
from pathlib import Path

import pytest
import torch
from example import train
from run_folder import make
from training_steps import steps, trainer

from dnw.runs.claim import Claim
from dnw.training.data import training_batches
from dnw.training.distributed import ALONE
from dnw.training.monitoring import step_profile
from dnw.training.monitoring.step_profile import PARTS, StepProfile
from shards.index import Index

CONFIG = train(steps=4, batch=8, micro_batch=4, width=0.05)


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return Claim.take_over(make(tmp_path / "runs"))


def recorded(claim: Claim, split: Index, asked: range, first: int = 0) -> StepProfile:
    made = trainer(CONFIG)
    profile = StepProfile(asked, claim, ALONE)
    made.part = profile.part
    batches = iter(training_batches(CONFIG, split, 0, 1, first, 4))
    for number in range(first + 1, 5):
        with profile.step(number):
            made.step(batches)
    undisturbed = steps(CONFIG, split, 4).model.state_dict()
    assert first or all(torch.equal(undisturbed[name], of) for name, of in made.model.state_dict().items())
    return profile


def shown(claim: Claim) -> list[str]:
    with gzip.open(claim.run.profile / "rank-0.json.gz") as file:
        return [
            event["name"] for event in json.load(file)["traceEvents"] if event.get("cat") == "user_annotation"
        ]


def test_steps_are_traced_and_their_parts_timed(
    claim: Claim, few_images: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    recorded(claim, Index.load(few_images, "train"), range(2, 4))
    names = shown(claim)
    counts = {name: names.count(name) for name in ("step", *PARTS)}
    assert counts == {
        **{"step": 2, "data": 4, "forward": 4, "backward": 4},
        **{"communication": 2, "optimizer": 2, "selection": 4},
    }
    text = (claim.run.profile / "rank-0.txt").read_text()
    assert text.startswith("steps 2 to 3, rank 0 of 1")
    rows = dict(re.findall(r"^(\w+) +[0-9.]+ +([0-9.]+)%$", text, re.MULTILINE))
    assert list(rows) == [*PARTS, "other", "all"]
    assert sum(map(float, rows.values())) == pytest.approx(200, abs=1)
    assert "aten::convolution" in text
    assert text in caplog.text
    assert not list(claim.folder.iterdir())
    assert "profiler_st" not in capfd.readouterr().err  # a build of torch for CUDA would say it, and an ERROR


@pytest.mark.parametrize(("asked", "first", "expected"), [((1, 2), 0, 1), ((1, 4), 2, 1), ((1, 3), 3, 0)])
def test_an_attempt_records_what_is_left_of_them(
    claim: Claim, few_images: Path, asked: tuple[int, int], first: int, expected: int
) -> None:
    recorded(claim, Index.load(few_images, "train"), range(*asked), first)
    assert claim.run.profile.exists() == bool(expected)
    assert not expected or shown(claim).count("step") == expected


def test_closed_before_its_end_it_writes_nothing(claim: Claim) -> None:
    profile = StepProfile(range(1, 5), claim, ALONE)
    with profile.step(1), profile.part("forward"):
        pass
    profile.close()
    with profile.step(2):
        pass
    assert not claim.run.profile.exists()


def test_shares_are_of_the_whole_step() -> None:
    seconds = {"step": 0.4, "data": 0.1, "forward": 0.1, "backward": 0.15}
    rows = [line.split() for line in step_profile.shares(seconds, steps=2).splitlines()]
    assert rows[1:4] == [
        ["data", "50.00", "25.0%"],
        ["forward", "50.00", "25.0%"],
        ["backward", "75.00", "37.5%"],
    ]
    assert rows[-2:] == [["other", "25.00", "12.5%"], ["all", "200.00", "100.0%"]]
