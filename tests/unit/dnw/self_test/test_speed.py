from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from dnw.self_test import speed
from dnw.self_test.measure import Setup


class Clock:
    """Time that passes while something sleeps, and a millisecond at each look: no neighbour slows it."""

    now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def perf_counter(self) -> float:
        self.now_s += 0.001
        return self.now_s


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(speed, "time", SimpleNamespace(sleep=clock.sleep, perf_counter=clock.perf_counter))
    monkeypatch.setattr(speed, "WARM_UP", 1)
    monkeypatch.setitem(speed.STEPS, "cpu", 1)


@pytest.mark.parametrize(
    ("is_faulty", "share"),
    [(False, 40), (True, 100)],  # 2 of 5 ms; 1002 of 1005
)
def test_a_loader_that_takes_more_than_half_of_a_step_is_found(
    setup: Callable[..., Setup], is_faulty: bool, share: int
) -> None:
    found = speed.measure(setup(is_faulty=is_faulty))
    assert found.is_right == (not is_faulty)
    assert found.tolerance == "loader at most 50%"
    figure = r"static, 16 px, fp32: calls \d{3,}, ms [\d.]+, images/s \d+ by 1 processes, memory [\d.]+ GB, "
    assert re.fullmatch(rf"{figure}loader {share}% of a step, \d loaders", found.figure), found.figure
