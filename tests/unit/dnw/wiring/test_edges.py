"""What all wirings share; what each has to hold: test_properties.py."""

import pytest
import torch

from dnw.wiring.edges import Edges
from dnw.wiring.pool import Pool


def test_no_edge_before_any_is_chosen() -> None:
    edges = Edges((2, 3), 4)
    weight = torch.ones(2, 3, requires_grad=True)
    assert not edges(weight).any()
    edges.mask[0, 1] = edges.mask[1, 2] = True
    effective = edges(weight * 5)
    assert effective.tolist() == [[0, 5, 0], [0, 0, 5]]
    effective.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[0, 5, 0], [0, 0, 5]]


def test_its_mask_is_not_saved_and_its_budget_is_shown() -> None:
    edges = Edges((2, 3), 4)
    assert edges.state_dict() == {}
    assert edges.extra_repr() == "budget=4, shape=(2, 3)"
    shared = Edges((2, 3), Pool(9))
    shared.mask[0] = True
    assert shared.budget == 3
    assert shared.extra_repr() == "budget=9, shape=(2, 3)"


@pytest.mark.parametrize(
    ("budget", "legal", "said"),
    [
        (7, None, "7 edges asked for, but there are 0 to 6 legal ones"),
        (-1, None, "-1 edges asked for"),
        (2, torch.eye(2, 3) > 1, "2 edges asked for, but there are 0 to 0 legal ones"),
        (2, torch.ones(3, 2) > 0, r"legal has shape \(3, 2\), the weight \(2, 3\)"),
        (Pool(2), torch.ones(2, 3) > 0, "in a pool every position is legal"),
    ],
)
def test_what_can_not_be_wired(budget: int | Pool, legal: torch.Tensor | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Edges((2, 3), budget, legal=legal)
