"""Wiring a network that is no graph of channels: its layers lose a share of their weights."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.wiring.budget import erk, remaining
from dnw.wiring.choice import Choice
from dnw.wiring.complete import CompleteEdges
from dnw.wiring.edges import Edges
from dnw.wiring.making import make_edges, make_sharing_edges
from dnw.wiring.wired import wire

_SHOWN = 5  # layer names in a message


def wire_network(model: nn.Module, train: Train) -> None:
    """Wire every Conv2d and Linear of `model` as `train` says, and choose edges for the first time.

    Left dense are the first of them with train.first_layer="dense", and those whose names match a pattern of
    train.wiring.leave_dense. Each keeps the share 1 - train.sparsity of its own weights, rounded up; with
    train.wiring.budget="global" all together do, with "erk" what each keeps follows its shape.
    Raises ConfigError if a pattern matches no layer, or no layer is left to wire.
    """
    layers = _layers(model)
    wired = {name: layer for name, layer in layers.items() if name not in _dense(layers, train)}
    if not wired:
        raise ConfigError(
            f"model.name: {train.model.name} has no convolution and no linear layer to wire; "
            f"left dense: {_listed(layers) if layers else 'none'}"
        )
    _check_groups(wired, train)
    for layer, edges in zip(wired.values(), _edges(train, list(wired.values())), strict=True):
        wire(layer, edges)
    if train.wiring.budget == "global":
        Choice(model).begin()


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Those with a weight of their own, by name, in the order of registration."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and isinstance(module.weight, nn.Parameter)
    }


def _dense(layers: dict[str, nn.Module], train: Train) -> set[str]:
    dense = set(list(layers)[:1]) if train.first_layer == "dense" else set()
    for pattern in train.wiring.leave_dense:
        matching = {name for name in layers if fnmatchcase(name, pattern)}
        if not matching:
            nearest = difflib.get_close_matches(pattern, layers, n=_SHOWN, cutoff=0.0)
            raise ConfigError(
                f"wiring.leave_dense: {pattern!r} matches no layer of model={train.model.name}; "
                f"the nearest of its {len(layers)}: {', '.join(nearest)}"
            )
        dense |= matching
    return dense


def _check_groups(wired: dict[str, nn.Module], train: Train) -> None:
    """Refuse layers whose inputs are no groups of m, with wiring=n_m."""
    m = train.wiring.m if train.wiring.name == "n_m" else 1
    weights = {name: layer.weight for name, layer in wired.items() if isinstance(layer.weight, Tensor)}
    odd = [name for name, weight in weights.items() if weight.shape[1] % m]
    if odd:
        dense = ",".join([*train.wiring.leave_dense, *odd])
        raise ConfigError(
            f"wiring.m: {m} does not divide the inputs of {len(odd)} layers of model={train.model.name}; "
            f"leave them dense: 'wiring.leave_dense=[{dense}]'"
        )


def _edges(train: Train, layers: list[nn.Module]) -> list[Edges]:
    shapes = [layer.weight.shape for layer in layers if isinstance(layer.weight, Tensor)]
    if train.wiring.name == "complete":
        return [CompleteEdges(shape) for shape in shapes]
    assert train.sparsity is not None  # dnw.config has seen to that
    budgets = [remaining(train.sparsity, shape.numel()) for shape in shapes]
    if train.wiring.budget == "global":
        total = sum(shape.numel() for shape in shapes)
        return make_sharing_edges(train, shapes, remaining(train.sparsity, total))
    if train.wiring.budget == "erk":
        budgets = erk(sum(budgets), shapes)
    return [make_edges(train, number, shape, budgets[number]) for number, shape in enumerate(shapes)]


def _listed(names: dict[str, nn.Module]) -> str:
    return ", ".join([*list(names)[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])])
