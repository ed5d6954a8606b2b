"""Wirings as parametrizations of any weight."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dnw.wiring import (
    CompleteEdges,
    DnwEdges,
    RandomEdges,
    choose_all,
    draw,
    edges_of,
    raw_weight,
    wire,
)

SHAPE = (6, 8)


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, 6, bias=False)


def gradient(module: nn.Module, upstream: Tensor) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    (weight * upstream).sum().backward()
    found = raw_weight(module).grad
    assert found is not None
    return found


def test_dnw_uses_the_strongest_edges_and_trains_all() -> None:
    module = linear()
    raw = module.weight.detach().clone()
    wire(module, DnwEdges(SHAPE, 10))
    mask = edges_of(module)[""][1].mask
    assert int(mask.sum()) == 10
    assert raw.abs()[mask].min() > raw.abs()[~mask].max()
    assert torch.equal(module.weight, raw * mask)
    upstream = torch.randn(SHAPE)
    assert torch.equal(gradient(module, upstream), upstream)


def test_dnw_keeps_to_legal_edges() -> None:
    legal = torch.ones(SHAPE).tril().bool()
    module = linear()
    wire(module, DnwEdges(SHAPE, 10, legal=legal))
    mask = edges_of(module)[""][1].mask
    assert int(mask.sum()) == 10
    assert not (mask & ~legal).any()


@pytest.mark.parametrize("legal", [None, torch.ones(SHAPE).tril().bool()], ids=["all", "half"])
def test_random_graph_is_a_function_of_its_key(legal: Tensor | None) -> None:
    first, again, other = (draw(SHAPE, 10, key=key, legal=legal) for key in ((1, 2), (1, 2), (1, 3)))
    assert int(first.sum()) == int(other.sum()) == 10
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    if legal is not None:
        assert not (first & ~legal).any()


def test_random_graph_is_pinned() -> None:
    """Runs under way and their pictures depend on it."""
    mask = draw(SHAPE, 6, key=(0, 1))
    assert mask.flatten().nonzero().flatten().tolist() == [9, 22, 30, 34, 35, 40]


def test_random_and_complete_graph_train_their_own_edges_alone() -> None:
    legal = torch.ones(SHAPE).tril().bool()
    for edges in (
        RandomEdges(draw(SHAPE, 10, key=(0,), legal=legal), legal=legal),
        CompleteEdges(SHAPE, legal=legal),
        CompleteEdges(SHAPE),
    ):
        module = linear()
        raw = module.weight.detach().clone()
        wire(module, edges)
        assert torch.equal(module.weight, raw * edges.mask)
        upstream = torch.randn(SHAPE)
        assert torch.equal(gradient(module, upstream), upstream * edges.mask)


def test_complete_graph_counts_its_legal_edges() -> None:
    assert CompleteEdges(SHAPE).budget == 48
    assert CompleteEdges(SHAPE, legal=torch.ones(SHAPE).tril().bool()).budget == 21


def test_graph_changes_only_when_edges_are_chosen() -> None:
    module = linear()
    wire(module, DnwEdges(SHAPE, 10))
    edges = edges_of(module)[""][1]
    before = edges.mask.clone()
    with torch.no_grad():
        raw_weight(module).copy_(torch.where(before, 0.0, 1.0))
    assert torch.equal(module.weight, torch.zeros(SHAPE))
    choose_all(module, step=1)
    assert int(edges.mask.sum()) == 10
    assert not (edges.mask & before).any()
    assert int(module.weight.count_nonzero()) == 10


def test_checkpoint_holds_the_raw_weight_and_no_mask() -> None:
    module = linear()
    raw = module.weight.detach().clone()
    wire(module, DnwEdges(SHAPE, 10, legal=torch.ones(SHAPE).tril().bool()))
    assert list(module.state_dict()) == ["parametrizations.weight.original"]
    assert torch.equal(raw_weight(module), raw)


def test_every_wired_module_is_found_in_order() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, 2))
    for module in (model[2], model[0]):
        wire(module, DnwEdges(tuple(module.weight.shape), 5))  # type: ignore[arg-type]
    assert list(edges_of(model)) == ["0", "2"]
    assert all(int(edges.mask.sum()) == 5 for _, edges in edges_of(model).values())


def test_convolution_trains_with_a_wiring() -> None:
    """A 3x3 weight in channels_last: the paper's own code prunes nothing there."""
    module = nn.Conv2d(4, 6, 3)
    wire(module, DnwEdges((6, 4, 3, 3), 20))
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    before = edges_of(module)[""][1].mask.clone()
    for step in range(3):
        module(
            torch.randn(2, 4, 5, 5).contiguous(memory_format=torch.channels_last)
        ).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        choose_all(module, step + 1)
    assert int(module.weight.count_nonzero()) == 20
    assert not torch.equal(edges_of(module)[""][1].mask, before)


def test_budget_beyond_the_legal_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="22 edges asked for, but there are 0 to 21 legal ones"):
        DnwEdges(SHAPE, 22, legal=torch.ones(SHAPE).tril().bool())
    with pytest.raises(ValueError, match="49 edges asked for, but there are 0 to 48 legal ones"):
        DnwEdges(SHAPE, 49)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Linear.weight has shape \(6, 8\), its edges \(8, 6\)"):
        wire(linear(), DnwEdges((8, 6), 5))
    with pytest.raises(ValueError, match=r"ReLU.weight has shape none"):
        wire(nn.ReLU(), DnwEdges((8, 6), 5))
    with pytest.raises(ValueError, match=r"legal has shape \(2,\), the weight \(6, 8\)"):
        DnwEdges(SHAPE, 5, legal=torch.ones(2, dtype=torch.bool))


def test_a_second_wiring_is_refused() -> None:
    module = linear()
    wire(module, DnwEdges(SHAPE, 10))
    with pytest.raises(ValueError, match=r"Linear.weight is wired already"):
        wire(module, DnwEdges(SHAPE, 5))
