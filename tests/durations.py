"""Order tests by how long they took when it was last measured: those that take longest begin first.

tests/durations.txt holds a line for each test function: seconds of its slowest case, or of the set-up that
its group shares, then its name. Functions under SHORT_S, or not measured yet, are not in it.
`make tests PYTEST=--record-durations` writes it anew; `make quick` runs the unit tests that it does not name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

FILE = Path(__file__).with_suffix(".txt")
SHORT_S = 0.2


def function(nodeid: str) -> str:
    """Return the name of a test function, given the name of one of its cases."""
    return nodeid.partition("[")[0].partition("@")[0]


def group_in(nodeid: str) -> str:
    """Return the group that pytest-xdist appends to the name of a case; without one, nothing."""
    return nodeid.rpartition("]")[2].partition("@")[2]


def read(text: str) -> dict[str, float]:
    """Return the seconds of each function that a text in the format of FILE names."""
    lines = (line.split(maxsplit=1) for line in text.splitlines())
    return {name: float(seconds) for seconds, name in lines}


def written(seconds: Mapping[str, float], set_up: Mapping[str, float]) -> str:
    """Return the text for FILE, the slowest function first.

    Args:
        seconds: of each case, by its name.
        set_up: seconds of each group's longest set-up. Whichever of its tests comes first has to wait for it.
    """
    slowest: dict[str, float] = defaultdict(float)
    for nodeid, measured in seconds.items():
        name = function(nodeid)
        slowest[name] = max(slowest[name], measured, set_up.get(group_in(nodeid), 0))
    kept = sorted((-spent, name) for name, spent in slowest.items() if spent >= SHORT_S)
    return "".join(f"{-spent:.1f} {name}\n" for spent, name in kept)


def short(items: Iterable[pytest.Item], seconds: Mapping[str, float]) -> list[pytest.Item]:
    """Return the tests that were not measured to be long."""
    return [item for item in items if function(item.nodeid) not in seconds]


def group_of(item: pytest.Item) -> str:
    """Return what keeps a test on one worker with others: its xdist_group; without one, its own name."""
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else item.nodeid


def longest_first(items: Iterable[pytest.Item], seconds: Mapping[str, float]) -> list[pytest.Item]:
    """Return the tests, groups that take longest first; within a group their order is kept."""
    groups: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        groups[group_of(item)].append(item)
    by_time = sorted(
        groups.values(), key=lambda group: -sum(seconds.get(function(item.nodeid), 0) for item in group)
    )
    return [item for group in by_time for item in group]


# ---- what pytest calls; conftest.py hands it on


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options to the command line."""
    parser.addoption("--quick", action="store_true", help=f"leave out what {FILE.name} names")
    parser.addoption("--record-durations", action="store_true", help=f"write {FILE.name} anew")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests where that is asked for, and bring the others into their order."""
    seconds = read(FILE.read_text())
    if config.getoption("quick"):
        chosen = short(items, seconds)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    if hasattr(config, "workerinput"):  # one after the other, related tests are easier to read
        items[:] = longest_first(items, seconds)


MEASURED: dict[str, float] = defaultdict(float)
SET_UP: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up set-up, call and teardown of a case."""
    MEASURED[report.nodeid] += report.duration
    if report.when == "setup" and (group := group_in(report.nodeid)):
        SET_UP[group] = max(SET_UP[group], report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was measured, on the process that hears of all tests."""
    if session.config.getoption("record_durations") and not hasattr(session.config, "workerinput"):
        FILE.write_text(written(MEASURED, SET_UP))
