"""Wirings: which edges of a weight exist, as parametrizations that fit the weight of any module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dnw.wiring.complete import CompleteEdges
from dnw.wiring.dnw import DnwEdges
from dnw.wiring.edges import Edges
from dnw.wiring.layout import Layout
from dnw.wiring.random_edges import RandomEdges

__all__ = [
    "CompleteEdges",
    "DnwEdges",
    "Edges",
    "Layout",
    "RandomEdges",
    "choose_all",
    "edges_of",
    "raw_weight",
    "wire",
]


def wire(module: nn.Module, edges: Edges) -> None:
    """Make `edges` decide which entries of `module.weight` exist, and choose them for the first time.

    From then on `module.weight` is the effective weight; what the optimizer trains and checkpoints hold is
    `module.parametrizations.weight.original`. Raises ValueError if the shapes differ or the weight is wired.
    """
    name = f"{type(module).__name__}.weight"
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError(f"{name} is wired already: wire a module once")
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.shape != edges.mask.shape:
        shape = tuple(weight.shape) if isinstance(weight, Tensor) else "none"
        raise ValueError(f"{name} has shape {shape}, its edges {tuple(edges.mask.shape)}")
    parametrize.register_parametrization(module, "weight", edges)
    with torch.no_grad():
        edges.choose(raw_weight(module), step=0)


def raw_weight(module: nn.Module) -> Tensor:
    """Return the parameter behind a wired module's weight: all edges, chosen or not."""
    original = _parametrizations(module).original
    assert isinstance(original, Tensor)
    return original


def edges_of(model: nn.Module) -> dict[str, tuple[nn.Module, Edges]]:
    """Find every wired module by its path in the model, in the order of registration."""
    return {
        path: (module, edges)
        for path, module in model.named_modules()
        if parametrize.is_parametrized(module, "weight")
        for edges in _parametrizations(module)
        if isinstance(edges, Edges)
    }


@torch.no_grad()
def choose_all(model: nn.Module, step: int) -> None:
    """Choose every wiring's edges anew: once after each optimizer step, and once after loading weights."""
    for module, edges in edges_of(model).values():
        edges.choose(raw_weight(module), step)


def _parametrizations(module: nn.Module) -> parametrize.ParametrizationList:
    found = module.get_submodule("parametrizations.weight")
    assert isinstance(found, parametrize.ParametrizationList)
    return found
