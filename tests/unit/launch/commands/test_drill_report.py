"""What a rehearsed preemption cost, from what was noted."""

import json
from typing import Any

import pytest

from dnw.runs.ledger import Attempt
from launch.commands.drill_report import Deadline, DrillReport, Marks, deadlines, reasons_in_order
from launch.scheduler.stop_grace import Grants


def attempt(number: int, **events: dict[str, Any]) -> Attempt:
    return Attempt(number, **{name: {"attempt": number, **facts} for name, facts in events.items()})


def drill_report(**changes: Any) -> DrillReport:
    """Stopped at 100 s, going on at 160 s."""
    second = attempt(
        2,
        claim={"time": 150.0, "job": "7"},
        start={"time": 157.5, "step": 12},
        step={"time": 160.0, "step": 13},
    )
    facts: dict[str, Any] = {
        "run": "exp/name",
        "job": "7",
        "first": attempt(1, end={"time": 103.0, "reason": "stopped", "step": 12}),
        "second": second,
        "saved": 102.0,
        "reached": 12,
        "marks": Marks(asked=100.0, gone=110.0, granted=149.0, reasons=("BeginTime", "Priority")),
        "deadlines": (Deadline(40, "low"), Deadline(120, "cluster.grace_s")),
    }
    return DrillReport(**{**facts, **changes})


def test_the_seconds_of_each_part() -> None:
    found = drill_report()
    assert [(phase.name, phase.seconds) for phase in found.phases] == [
        ("signal to saved", 2.0),
        ("saved to out of the way", 8.0),
        ("waiting in the queue", 39.0),
        ("nodes granted to run claimed", 1.0),
        ("claimed to checkpoint loaded", 7.5),
        ("loaded to first step done", 2.5),
        ("in all", 60.0),
    ]
    assert sum(phase.seconds or 0 for phase in found.phases[:-1]) == found.phases[-1].seconds
    assert (found.steps_lost, found.holds) == (0, True)
    assert found.summary() == [
        "Nothing was lost: stopped after step 12, resumed after step 12.",
        "Saving took 2.0 of 40 s (low): that holds.",
        "Saving took 2.0 of 120 s (cluster.grace_s): that holds.",
    ]
    plain = found.plain()
    assert (plain["saving_s"], plain["waiting_s"], plain["total_s"]) == (2.0, 39.0, 60.0)
    assert (plain["steps_lost"], plain["step_resumed"], plain["holds"]) == (0, 12, True)
    assert plain["waited_for"] == ["BeginTime", "Priority"]
    json.dumps(plain)


def test_saving_that_takes_too_long_for_a_preemption() -> None:
    found = drill_report(saved=141.0, marks=Marks(100.0, 145.0, 149.0))
    assert found.holds is False
    assert "Saving took 41.0 of 40 s (low): TOO LONG." in found.summary()


def test_killed_before_it_had_saved() -> None:
    first = attempt(1, end={"time": 110.0, "reason": "killed"})
    found = drill_report(first=first, saved=None, reached=19)
    assert (found.steps_lost, found.holds, found.saving_s) == (7, False, None)
    assert found.phases[1].seconds == 10.0  # from the signal, then
    assert found.summary() == [
        "7 steps were lost: stopped after step 19 (killed), resumed after step 12. "
        "checkpoint.every_minutes, or checkpoint.every=auto, bounds that.",
        "It was not saved in time; it had at most 40 s (low) and 120 s (cluster.grace_s).",
    ]


def test_what_was_too_quick_to_be_seen() -> None:
    found = drill_report(marks=Marks(100.0, None, None), deadlines=())
    assert [phase.seconds for phase in found.phases] == [2.0, None, None, None, 7.5, 2.5, 60.0]
    assert found.holds is None
    assert found.summary()[1] == "No save deadline is known on this cluster."


def test_nodes_noticed_only_after_the_run_had_claimed_them() -> None:
    """squeue is asked twice a second."""
    phases = drill_report(marks=Marks(100.0, 110.0, 150.4)).phases
    assert (phases[2].seconds, phases[3].seconds) == (40.0, 0.0)


@pytest.mark.parametrize(
    ("grants", "grace_s", "found"),
    [
        (None, None, []),
        (None, 120, [(120, "cluster.grace_s")]),
        (Grants("low", None, 30, 10), None, [(40, "partition low: GraceTime 30 s + KillWait 10 s")]),
        (Grants("low", None, None, 10), None, [(10, "partition low: KillWait 10 s")]),
        (Grants("low", "spot", 30, 10), None, [(40, "QOS spot: GraceTime 30 s + KillWait 10 s")]),
        (Grants("low"), 60, [(60, "cluster.grace_s")]),
    ],
)
def test_deadlines(grants: Grants | None, grace_s: int | None, found: list[tuple[int, str]]) -> None:
    assert [(one.seconds, one.said_by) for one in deadlines(grants, grace_s)] == found


def test_each_reason_once_and_none_not_at_all() -> None:
    assert reasons_in_order(["None", "BeginTime", "", "Priority", "BeginTime"]) == ("BeginTime", "Priority")
