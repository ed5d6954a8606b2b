import pytest
import torch

from dnw.wiring.scheduled.edges import share_of
from dnw.wiring.scheduled.gmp import GmpEdges


def test_shares_are_those_of_the_decimal_digits() -> None:
    assert [share_of(0.29, 100), share_of(0.75, 3), share_of(1.0, 7), share_of(0.0, 7)] == [29, 2, 7, 0]


@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_the_end_comes_before_the_last_step(steps: int) -> None:
    edges = GmpEdges((4, 4), 3, every=10, start=0.0, until=1.0)
    edges.plan(torch.zeros(4, 4), steps)
    assert edges.end == steps - 1
    assert edges.is_due(steps - 1)
    assert edges.edges_at(steps - 1) == 3
