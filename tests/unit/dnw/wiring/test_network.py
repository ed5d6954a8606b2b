"""Wiring networks that are no graphs: which layers, how many weights, one budget for all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from example import train
from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.wiring import Choice, DnwEdges, Pool, choose_all, edges_of, raw_weight, wire
from dnw.wiring.budget import remaining
from dnw.wiring.network import wire_network

SPARSE = ("dnw", "random", "no_update", "td", "reg_td", "fine_tune", "one_shot")
SCHEDULED = ("rigl", "set", "gmp")
SIZES = {"stem": 108, "body.0": 36, "body.2": 144, "head": 40}


class Small(nn.Module):
    """Convolutions of all kinds, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(self.stem(x)).mean((2, 3)))
        return found


def config(wiring: str = "dnw", **changes: Any) -> Train:
    source = {"wiring__source": "somewhere"} if wiring in {"fine_tune", "one_shot"} else {}
    sparsity = None if wiring == "complete" else 0.7
    values = {"model__name": "resnet18", "width": None, "sparsity": sparsity, "wiring__name": wiring}
    return train(**{**values, **source, **changes})


def wired(*arguments: str, **changes: Any) -> Small:
    torch.manual_seed(0)
    model = Small()
    wire_network(model, config(*arguments, **changes))
    return model


def counts(model: nn.Module) -> dict[str, int]:
    return {name: int(edges.mask.sum()) for name, (_, edges) in edges_of(model).items()}


@pytest.mark.parametrize("wiring", [*SPARSE, *SCHEDULED])
def test_each_layer_keeps_its_share_rounded_up(wiring: str) -> None:
    # 30 % of each, where the nearest binary fraction of 0.7 would keep one more of the 40
    assert counts(wired(wiring)) == {"stem": 33, "body.0": 11, "body.2": 44, "head": 12}


@pytest.mark.parametrize("wiring", [*SPARSE, *SCHEDULED])
def test_budgets_by_shape_are_used_up(wiring: str) -> None:
    # 100 edges by 13, 11, 14 and 14 of 52: the second can't hold more than 36 and doesn't have to
    found = counts(wired(wiring, wiring__budget="erk"))
    assert found == {"stem": 25, "body.0": 21, "body.2": 27, "head": 27}


def test_complete_keeps_all() -> None:
    assert counts(wired("complete")) == SIZES


@pytest.mark.parametrize("wiring", SPARSE)
def test_one_budget_for_all_is_exact_and_not_that_of_each(wiring: str) -> None:
    found = counts(wired(wiring, wiring__budget="global"))
    assert sum(found.values()) == remaining(0.7, sum(SIZES.values())) == 99
    assert sum(edges.budget for _, edges in edges_of(wired(wiring, wiring__budget="global")).values()) == 99
    if wiring != "reg_td":
        assert found != counts(wired(wiring))


@pytest.mark.parametrize("wiring", ["dnw", "no_update", "td", "fine_tune"])
def test_one_budget_takes_the_largest_of_all(wiring: str) -> None:
    model = wired(wiring, wiring__budget="global")
    pairs = [(raw_weight(module).abs(), edges.mask) for module, edges in edges_of(model).values()]
    weights = torch.cat([weight.flatten() for weight, _ in pairs])
    masks = torch.cat([mask.flatten() for _, mask in pairs])
    assert weights[masks].min() > weights[~masks].max()


def test_ties_go_to_the_first_weight_and_its_lowest_index() -> None:
    model = wired(wiring__budget="global")
    for module, _ in edges_of(model).values():
        nn.init.constant_(raw_weight(module), -1.0)
    choose_all(model, step=1)
    assert counts(model) == {"stem": 99, "body.0": 0, "body.2": 0, "head": 0}
    assert edges_of(model)["stem"][1].mask.flatten()[:99].all()


def test_one_budget_is_chosen_anew_and_fixed_edges_are_not() -> None:
    for wiring, moves in (("dnw", True), ("fine_tune", False)):
        model = wired(wiring, wiring__budget="global")
        before = counts(model)
        with torch.no_grad():
            raw_weight(model.head).fill_(9.0)
        Choice(model).choose(1)
        assert (counts(model) != before) is moves
        Choice(model).begin()
        assert counts(model)["head"] == 40


def test_a_copy_shares_its_budget_among_its_own_weights() -> None:
    model = wired(wiring__budget="global")
    other = copy.deepcopy(model)
    with torch.no_grad():
        raw_weight(other.head).fill_(9.0)
    before = counts(model)
    choose_all(other, step=1)
    choose_all(model, step=1)
    assert counts(other)["head"] == 40
    assert counts(model) == before


def test_first_layer_and_named_ones_stay_dense() -> None:
    model = wired(first_layer="dense", wiring__leave_dense=["he?d", "body.2"])
    assert list(edges_of(model)) == ["body.0"]
    assert list(edges_of(wired("complete", wiring__leave_dense=["body.*"]))) == ["stem", "head"]


def test_a_pattern_without_a_layer_is_refused() -> None:
    expected = r"leave_dense: 'haed' matches no layer of model=resnet18; the nearest of its 4: head"
    with pytest.raises(ConfigError, match=expected):
        wired(wiring__leave_dense=["haed"])


def test_nothing_to_wire_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="no convolution and no linear layer to wire; left dense: stem, body"
    ):
        wired(wiring__leave_dense=["*"])
    with pytest.raises(ConfigError, match="left dense: none"):
        wire_network(nn.Sequential(nn.ReLU()), config())


def test_layers_that_are_wired_already_are_left_alone() -> None:
    model = Small()
    wire(model.head, DnwEdges((10, 4), 3))
    wire_network(model, config())
    assert counts(model)["head"] == 3


def test_a_pool_takes_no_illegal_positions_and_no_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="give this weight a budget of its own"):
        DnwEdges((2, 2), Pool(2), legal=torch.ones(2, 2).bool())
    with pytest.raises(ValueError, match="5 edges asked for, but there are 4 positions"):
        Pool(5).strongest([torch.zeros(2, 2)])


@pytest.mark.parametrize("budget", ["layer", "global"])
@pytest.mark.parametrize("wiring", [*SPARSE, "complete"])
def test_it_trains_and_loads(wiring: str, budget: str) -> None:
    model = wired(wiring, wiring__budget=budget)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    choice = Choice(model)
    for step in range(3):
        model(torch.randn(4, 3, 12, 12)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        choice.choose(step + 1)
    other = wired(wiring, wiring__budget=budget)
    other.load_state_dict(model.state_dict())
    choose_all(other, 3)
    x = torch.randn(4, 3, 12, 12)
    assert counts(other) == counts(model)
    assert torch.equal(other(x), model(x))  # in training: what targeted dropout keeps, too
    assert torch.equal(other.eval()(x), model.eval()(x))
