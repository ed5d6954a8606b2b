"""Which ranks are told to be slow, and from what."""

from __future__ import annotations

import time

import pytest
import torch

from dnw.hardware.stragglers import STEPS, Change, OwnTime, Stragglers


def noted(steps: list[list[float]], size: int = 4) -> dict[int, list[Change]]:
    """What is said after which step."""
    watched = Stragglers(size)
    return {number: found for number, times in enumerate(steps, start=1) if (found := watched.note(times))}


def test_a_rank_is_named_once_after_fifty_slow_steps() -> None:
    slow = [[1.0, 1.1, 2.0, 0.9]] * (2 * STEPS)
    assert noted(slow) == {STEPS: [Change(2, True, 2.0)]}
    assert noted([*slow[: STEPS - 1], [1.0, 1.1, 1.2, 0.9], *slow[: STEPS - 1]]) == {}


def test_a_rank_that_recovers() -> None:
    steps = [[1.0, 1.0, 1.0, 3.0]] * STEPS + [[1.0, 1.0, 1.0, 1.4]] * STEPS
    assert noted(steps) == {STEPS: [Change(3, True, 3.0)], 2 * STEPS: [Change(3, False, 1.4)]}


def test_of_two_ranks_one_can_be_slow() -> None:
    assert noted([[1.6, 1.0]] * STEPS, size=2) == {STEPS: [Change(0, True, 1.6)]}
    assert noted([[1.4, 1.0]] * STEPS, size=2) == {}


def test_evaluations_and_unknown_times_count_for_nothing() -> None:
    assert noted([[0.0] * 4, [1.0, 1.0, 1.0, 2.0]] * STEPS) == {2 * STEPS: [Change(3, True, 2.0)]}


def test_own_time_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    own = OwnTime(torch.device("cpu"))
    for _ in range(2):
        with own.measured():
            pass
    assert (own.take(), own.take()) == (5.0, 0.0)


class Event:
    """An event of a GPU that has got as far as the test says."""

    done = False
    made = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        type(self).made += 1

    def record(self) -> None: ...

    def query(self) -> bool:
        return type(self).done

    def elapsed_time(self, _other: Event) -> float:
        return 250.0


def test_own_time_on_a_gpu_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pair of events at a time; what isn't known yet is what was known last."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    own = OwnTime(torch.device("cuda", 0))
    for _ in range(3):
        with own.measured():
            pass
        assert own.take() == 0.0
    assert Event.made == 2
    Event.done = True
    assert (own.take(), own.take()) == (0.25, 0.25)
    with own.measured():
        pass
    assert Event.made == 4
