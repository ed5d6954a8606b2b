"""How often a checkpoint pays."""

import math
from pathlib import Path

import pytest
from run_folder import make

from dnw.config import CheckpointSettings, ConfigError, parse_as
from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.training import checkpoint_interval
from dnw.training.checkpoint_interval import Interval

DAY = 24 * 3600.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def attempt(run: Run, number: int, reason: ledger.Reason) -> None:
    ledger.claim(run, number, job="1", restart=0, hosts=["n1"])
    ledger.end(run, number, reason)


def test_as_it_is_set(run: Run) -> None:
    for minutes in (0.0, 2.5):
        fixed = Interval(CheckpointSettings(every_minutes=minutes), run)
        fixed.saved(stalled_s=20.0, seconds=100.0)
        assert fixed.seconds == 60 * minutes


def test_chosen_by_what_one_costs(run: Run) -> None:
    chosen = Interval(CheckpointSettings(every="auto"), run)
    assert chosen.seconds == checkpoint_interval.FIRST_S
    chosen.saved(stalled_s=0.5, seconds=2.0)
    assert chosen.seconds == pytest.approx(math.sqrt(2 * 0.5 * DAY), rel=1e-3)
    chosen.saved(stalled_s=0.0001, seconds=2.0)
    assert chosen.seconds == pytest.approx(40.0)  # the disk is left alone 95 % of the time
    chosen.saved(stalled_s=600.0, seconds=600.0)
    assert chosen.seconds == checkpoint_interval.LONGEST_S


def test_what_fails_often_saves_often(run: Run) -> None:
    rare = Interval(CheckpointSettings(every="auto"), run)
    for number in (1, 2, 3):
        attempt(run, number, "killed")
    attempt(run, 4, "stopped")  # for which it has saved
    ledger.claim(run, 5, job="1", restart=0, hosts=["n1"])
    often = Interval(CheckpointSettings(every="auto"), run)
    for one in (rare, often):
        one.saved(stalled_s=0.5, seconds=1.0)
    assert often.seconds == pytest.approx(rare.seconds / 2, rel=1e-3)


@pytest.mark.parametrize("stalled_s", [0.01, 1.0, 60.0])
def test_young_costs_least(stalled_s: float) -> None:
    def cost(every_s: float) -> float:
        return stalled_s / every_s + every_s / 2 / DAY

    best = checkpoint_interval.young(stalled_s, DAY)
    assert cost(best) < min(cost(0.9 * best), cost(1.1 * best))


def test_auto_is_the_only_word() -> None:
    assert parse_as(CheckpointSettings, {"every": "auto"}).every == "auto"
    with pytest.raises(ConfigError, match="every: must be 'auto'"):
        parse_as(CheckpointSettings, {"every": "often"})
