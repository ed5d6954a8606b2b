"""The order of all time-outs, in the code and in the table of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dnw.training.watchdog import patience_s
from launch.node import requeue, timeouts
from launch.node.timeouts import first_node_s

ROOT = Path(__file__).resolve().parents[4]
GRACE_S, WATCHDOG_S = 120, 600.0  # as configs/ has them

# Each row of the table: what it begins with, its seconds, and what it has to be longer than.
ROWS = {
    "a look": (timeouts.LOOK_S, 0),
    "no way leads to the first node": (timeouts.UNREACHABLE_S, timeouts.LOOK_S),
    "torchrun ends workers": (timeouts.WORKERS_END_S, timeouts.LOOK_S),
    "a look, of each of several hundred": (timeouts.LONGEST_LOOK_S, timeouts.LOOK_S),
    "a report is seen on all nodes": (timeouts.SEEN_S, timeouts.LOOK_S),
    "an agent is killed": (timeouts.MARGIN_S, 0),
    "one question to torchrun's store": (timeouts.STORE_S, timeouts.LOOK_S),
    "the first node waits for the others' reports": (
        timeouts.REPORT_WAIT_S,
        timeouts.WORKERS_END_S + timeouts.SEEN_S + timeouts.LONGEST_LOOK_S,
    ),
    "the first node begins to listen": (timeouts.CONNECT_S, timeouts.UNREACHABLE_S),
    "all nodes come to the rendezvous": (timeouts.JOIN_S, timeouts.CONNECT_S + timeouts.SEEN_S),
    "`watchdog.seconds`": (WATCHDOG_S, 0),
    "a collective operation": (patience_s(WATCHDOG_S), WATCHDOG_S),
    "another node waits for the first one": (
        first_node_s(GRACE_S, WATCHDOG_S),
        max(timeouts.JOIN_S, GRACE_S + timeouts.MARGIN_S, patience_s(WATCHDOG_S)) + timeouts.REPORT_WAIT_S,
    ),
}


def table() -> list[list[str]]:
    text = (ROOT / "docs" / "preemption.md").read_text()
    found = re.search(r"^\| what \| seconds \| longer than \|\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


def test_the_table_is_that_of_the_code() -> None:
    rows = table()
    assert len(rows) == len(ROWS)
    for (what, seconds, *_), (begins, (is_s, _)) in zip(rows, ROWS.items(), strict=True):
        assert what.startswith(begins)
        assert float(seconds) == is_s, what


@pytest.mark.parametrize("what", ROWS)
def test_each_is_longer_than_what_it_waits_for(what: str) -> None:
    seconds, waits_for = ROWS[what]
    assert seconds > waits_for


@pytest.mark.parametrize(("grace_s", "watchdog_s"), [(30, 20.0), (3600, 600.0), (120, 0.0)])
def test_nobody_gives_the_first_node_up_while_it_may_go_on(grace_s: int, watchdog_s: float) -> None:
    """Whatever was set: its agent gets its grace, a collective operation times out."""
    longest = max(grace_s + timeouts.MARGIN_S, patience_s(watchdog_s), timeouts.JOIN_S)
    assert first_node_s(grace_s, watchdog_s) > longest + timeouts.REPORT_WAIT_S


def test_a_node_that_can_not_come_says_so_before_the_first_one_gives_up() -> None:
    assert timeouts.CONNECT_S + timeouts.SEEN_S < timeouts.JOIN_S
    assert timeouts.UNREACHABLE_S < timeouts.CONNECT_S
    assert requeue.LONGEST_GRACE_S > timeouts.MARGIN_S
