"""Wire the weights of modules, and find the modules whose weights are wired."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dnw.wiring.edges import Edges


def wire(module: nn.Module, edges: Edges) -> None:
    """Make `edges` decide which entries of `module.weight` exist, and choose them for the first time.

    From then on `module.weight` is the effective weight; what the optimizer trains and checkpoints hold is
    `module.parametrizations.weight.original`. The weights of a pool are to be wired all before edges are
    chosen, by Choice.begin. Raises ValueError if the shapes differ or the weight is wired.
    """
    name = f"{type(module).__name__}.weight"
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError(f"{name} is wired already: wire a module once")
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.shape != edges.mask.shape:
        shape = tuple(weight.shape) if isinstance(weight, Tensor) else "none"
        raise ValueError(f"{name} has shape {shape}, its edges {tuple(edges.mask.shape)}")
    if not weight.is_contiguous():
        # the effective weight takes the mask's memory format
        edges.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parametrize.register_parametrization(module, "weight", edges)
    if edges.pool is None:
        with torch.no_grad():
            edges.begin(raw_weight(module))


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


def _parametrizations(module: nn.Module) -> parametrize.ParametrizationList:
    found = module.get_submodule("parametrizations.weight")
    assert isinstance(found, parametrize.ParametrizationList)
    return found
