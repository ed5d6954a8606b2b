import torch
from torch import nn

from dnw.wiring import wire
from dnw.wiring.choice import Choice, choose_all
from dnw.wiring.dnw import DnwEdges
from dnw.wiring.fixed import FixedEdges
from dnw.wiring.pool import Pool
from dnw.wiring.wired import edges_of


def model(*rows: list[float]) -> nn.Sequential:
    layers = nn.Sequential(*(nn.Linear(len(row), 1, bias=False) for row in rows))
    with torch.no_grad():
        for layer, row in zip(layers, rows, strict=True):
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(torch.tensor([row]))
    return layers


def masks(layers: nn.Sequential) -> list[list[bool]]:
    return [edges.mask.flatten().tolist() for _, edges in edges_of(layers).values()]


def test_weight_by_weight() -> None:
    layers = model([1.0, -3.0, 2.0], [5.0, 4.0])
    wire(layers[0], DnwEdges((1, 3), 2))
    wire(layers[1], DnwEdges((1, 2), 1))
    Choice(layers).begin()
    assert masks(layers) == [[False, True, True], [True, False]]


def test_together_where_they_share_a_budget() -> None:
    layers, pool = model([1.0, -3.0, 2.0], [5.0, 4.0]), Pool(3)
    wire(layers[0], DnwEdges((1, 3), pool))
    wire(layers[1], DnwEdges((1, 2), pool))
    choose_all(layers, 1)
    assert masks(layers) == [[False, True, False], [True, True]]


def test_fixed_edges_are_chosen_once() -> None:
    layers = model([1.0, 2.0])
    wire(layers[0], FixedEdges((1, 2), 1))
    choice = Choice(layers)
    choice.begin()
    with torch.no_grad():
        layers[0].parametrizations.weight.original.copy_(torch.tensor([[3.0, 0.0]]))
    choice.choose(1)
    assert masks(layers) == [[False, True]]
