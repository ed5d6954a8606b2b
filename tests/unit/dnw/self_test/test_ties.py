from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dnw.self_test import ties
from dnw.self_test.measure import Setup


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ties, "SHAPES", ((64, 96), (20, 5, 3, 3), (7, 1)))


@pytest.mark.parametrize("is_faulty", [False, True])
def test_the_last_of_equal_ones_in_place_of_the_first_is_found(
    setup: Callable[..., Setup], is_faulty: bool
) -> None:
    found = ties.measure(setup(is_faulty=is_faulty))
    assert found.is_right == (not is_faulty)
    wrong, _, made = found.figure.removeprefix("no GPU here: cpu beside a sort: ").split()[:3]
    assert int(made) == 33
    assert int(wrong) == 0 or 10 < int(wrong) < 33  # none and all of them are no choice


def test_rows_that_choose_too_few_are_found(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ties, "largest_of_rows", lambda weight, *_: torch.zeros_like(weight, dtype=torch.bool)
    )
    found = ties.measure(setup(is_faulty=False))
    assert (found.is_right, found.figure) == (False, "no GPU here: cpu beside a sort: 3 of 33 choices differ")
