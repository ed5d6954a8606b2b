"""How long before its limit a job is asked to stop, from what its run has measured."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from dnw.config import CheckpointSettings, ConfigError
from dnw.runs import ledger
from dnw.runs.folder import Run
from launch import grace_period
from launch.config import Cluster
from launch.grace_period import Need
from launch.scheduler.stop_grace import Grants

SLOW = Need(step_s=50.0, save_s=85.0)  # 200 s in all
OFTEN = CheckpointSettings()


def cluster(**changes: Any) -> Cluster:
    return Cluster(**{"name": "slurm", "grace_s": 120, "timeout_min": 60, **changes})


def train(step: int, images_per_second: float) -> dict[str, Any]:
    return {"step": step, "kind": "train", "images_per_second": images_per_second}


def save(step: int, seconds: float) -> dict[str, Any]:
    return {"step": step, "kind": "save", "seconds": seconds, "bytes": 1}


def test_the_need_is_that_of_the_slowest_of_the_last_measurements() -> None:
    records = [train(1, 1.0), save(1, 99.0)]  # long ago
    records += [train(step, 32.0) for step in range(2, 6)] + [save(step, 1.0) for step in range(2, 6)]
    records += [train(6, 16.0), {"step": 6, "kind": "val", "loss": 1.0}, save(6, 2.5)]
    need = grace_period.need(records, batch=64)
    assert need == Need(step_s=4.0, save_s=2.5)
    assert need.seconds == 2 * 4 + 2.5 + 15 + 0.5  # whole seconds
    assert str(need) == "26 s (2 steps of 4.0 s, 2.5 s to save, 15 s to spare)"


@pytest.mark.parametrize("records", [[], [train(1, 9.0)], [save(1, 9.0)], [{"step": 1, "kind": "val"}]])
def test_without_a_step_and_a_save_nothing_is_known(records: list[dict[str, Any]]) -> None:
    assert grace_period.need(records, batch=64) is None


@pytest.mark.parametrize(("processes", "step_s"), [(8, 2.0), (4, 2.0), (1, 8.0)])
def test_on_fewer_processes_a_step_will_take_longer(tmp_path: Path, processes: int, step_s: float) -> None:
    run = Run(tmp_path)
    assert grace_period.measured(run, batch=64, processes=processes) is None
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in (train(1, 32.0), save(1, 1.0))))
    ledger.start(run, 1, step=0, world=4, nodes=1, device="cpu")
    assert grace_period.measured(run, batch=64, processes=processes) == Need(step_s, 1.0)


@pytest.mark.parametrize(
    ("settings", "need", "lead_s"),
    [
        ({}, None, 180),
        ({}, Need(1.0, 1.0), 180),
        ({}, SLOW, 260),
        ({"grace_s": 600}, None, 600),  # what workers get, they get
        ({"timeout_min": 5}, None, 150),  # half of the limit
        ({"timeout_min": None}, SLOW, 260),
        ({"timeout_min": None, "time": "0:05:00"}, None, 150),
        ({"signal_delay_s": 200}, SLOW, 200),
        ({"signal_delay_s": 3599}, None, 3599),
    ],
)
def test_the_lead(settings: dict[str, Any], need: Need | None, lead_s: int) -> None:
    asked = cluster(**settings)
    assert grace_period.lead_s(asked, need) == lead_s
    assert grace_period.settled(asked, need) == dataclasses.replace(asked, signal_delay_s=lead_s)


@pytest.mark.parametrize(
    ("settings", "need", "said"),
    [
        ({"timeout_min": 3, "signal_delay_s": 180}, None,
         r"^cluster.timeout_min: a time limit of 180 s is not longer than .*signal_delay_s=180; set"),
        ({"timeout_min": None, "time": "2:00", "signal_delay_s": 120}, None,
         r"^cluster.time: a time limit of 120 s is not longer than"),
        ({"timeout_min": 3}, None,
         r"^cluster.timeout_min: a time limit of 180 s is too short: workers get 120 s .* set 4 minutes"),
        ({"timeout_min": 8}, SLOW,
         r"480 s is too short: stopping this run takes up to 200 s \(2 steps of 50.0 s.* set 9 minutes"),
        ({"signal_delay_s": 199}, SLOW,
         r"^cluster.signal_delay_s: 199 s, but stopping this run takes up to 200 s .*; set 260 or more"),
        ({"signal_delay_s": 100}, None, r"^cluster.grace_s: 120 s to save in, but Slurm .* 100 s after"),
    ],
)  # fmt: skip
def test_too_little_time(settings: dict[str, Any], need: Need | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        grace_period.lead_s(cluster(**settings), need)
    assert "\n" not in str(raised.value)


def test_what_a_term_may_cost() -> None:
    granted = Grants("low", grace_time_s=10, kill_wait_s=10)
    quick = Need(1.0, 3.0)  # 20 s
    assert grace_period.doubt(None, 120, OFTEN, granted) is None
    assert grace_period.doubt(quick, 120, OFTEN, granted) is None
    assert grace_period.doubt(SLOW, 300, OFTEN, None) is None
    assert grace_period.doubt(Need(1.0, 3.1), 120, CheckpointSettings(every_minutes=2.5), granted) == (
        "checkpoint.every_minutes: stopping takes up to 21 s (2 steps of 1.0 s, 3.1 s to save, 15 s to spare)"
        ", but after a TERM there are 20 s (partition low: GraceTime 10 s + KillWait 10 s): the last "
        "checkpoint may be what counts; save more often than every 2.5 minutes"
    )
    assert grace_period.doubt(SLOW, 300, OFTEN, Grants("low")) is None
    alone = grace_period.doubt(SLOW, 300, OFTEN, Grants("low", kill_wait_s=30))
    assert alone is not None
    assert "there are 30 s (partition low: KillWait 30 s): the" in alone
    both = grace_period.doubt(SLOW, 120, OFTEN, granted)
    assert both is not None
    assert "there are 120 s (cluster.grace_s) and 20 s (partition low" in both
    auto = grace_period.doubt(SLOW, 120, CheckpointSettings(every="auto"), granted)
    assert auto is not None
    assert auto.startswith("checkpoint.every=auto: stopping takes up to 200 s")
    assert auto.endswith("the last checkpoint may be what counts")
