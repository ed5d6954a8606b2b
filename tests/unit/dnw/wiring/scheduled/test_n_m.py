"""n of m along the inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.ao.pruning import WeightNormSparsifier  # type: ignore[attr-defined]

from dnw.wiring import Choice, raw_weight, wire
from dnw.wiring.scheduled.n_m import NmEdges


def test_every_group_has_exactly_two() -> None:
    layer = nn.Conv2d(8, 5, 3, bias=False)
    edges = NmEdges((5, 8, 3, 3), 180, n=2, m=4, sr_ste=0.0)
    wire(layer, edges)
    grouped = edges.mask.view(5, 2, 4, 3, 3)
    assert (grouped.sum(2) == 2).all()
    size = raw_weight(layer).detach().abs().view(5, 2, 4, 3, 3)
    assert (size.where(grouped, 9).amin(2) >= size.where(~grouped, -1).amax(2)).all()


def test_ties_go_to_the_lowest_index() -> None:
    layer = nn.Linear(8, 1, bias=False)
    nn.init.constant_(layer.weight, -1.0)
    edges = NmEdges((1, 8), 4, n=2, m=4, sr_ste=0.0)
    wire(layer, edges)
    assert edges.mask.tolist() == [[True, True, False, False] * 2]


def test_it_chooses_what_torchs_own_sparsifier_chooses() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 6, bias=False)
    theirs = nn.Sequential(nn.Linear(16, 6, bias=False))
    theirs[0].load_state_dict(layer.state_dict())
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(theirs, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    wire(layer, NmEdges((6, 16), 48, n=2, m=4, sr_ste=0.0))
    assert torch.equal(layer.weight, theirs.get_submodule("0").weight)  # type: ignore[arg-type]


def test_what_is_not_chosen_is_drawn_to_zero() -> None:
    """Equation 9: the gradient of the whole batch, plus a share of what isn't chosen."""
    layer = nn.Linear(4, 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[4.0, -3.0, 2.0, -1.0]]))
    wire(layer, NmEdges((1, 4), 2, n=2, m=4, sr_ste=0.5))
    choice = Choice(layer, steps=2)
    layer.weight.sum().backward()
    choice.before_step(0, torch.optim.SGD(layer.parameters(), lr=0.1))
    assert raw_weight(layer).grad.tolist() == [[1.0, 1.0, 2.0, 0.5]]


def test_legal_groups_alone() -> None:
    legal = torch.tensor([[True] * 4 + [False] * 4])
    edges = NmEdges((1, 8), 1, n=1, m=4, sr_ste=0.0, legal=legal)
    edges.choose(torch.arange(8.0).view(1, 8), 0)
    assert edges.mask.nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize(
    ("shape", "budget", "legal", "message"),
    [
        ((1, 6), 3, None, "6 inputs are no groups of 4"),
        ((1, 8), 3, None, "2 of 4 are 4 edges, the budget is 3"),
        ((1, 4), 2, torch.tensor([[True, True, False, True]]), "some of 4 neighbouring inputs are legal"),
    ],
)
def test_refuses(shape: tuple[int, int], budget: int, legal: torch.Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NmEdges(shape, budget, n=2, m=4, sr_ste=0.0, legal=legal)
