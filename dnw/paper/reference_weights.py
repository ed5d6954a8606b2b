"""Weights of the paper's own code (github allenai/dnw, September 2019) in this project's models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dnw.training.state_dict_diff import state_dict_diff
from dnw.wiring import DnwEdges, choose_all, edges_of
from shards.errors import ExpectedError


class ImportStateError(ExpectedError):
    """A state dict of the paper's code that doesn't fit the model; the message shows both sides."""


@torch.no_grad()
def import_state(state: Mapping[str, Tensor], model: nn.Module) -> None:
    """Load a state dict of the paper's code into `model` and choose the edges.

    Takes keys with or without the `module.` of DataParallel; drops the constant `zeros` of the tiny networks.
    A random graph's mask is folded into its weights, so its model must be wired as dnw, whose largest
    weights then are that graph. The paper's dnw checkpoints need wiring.reference_quirks=true to choose the
    same edges.
    Raises ImportStateError if keys or shapes differ or a mask can't be kept; the model is then untouched.
    """
    found = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    found.pop("zeros", None)
    wired = edges_of(model)
    for path, (_, edges) in wired.items():
        weight = found.pop(f"{path}.weight", None)
        mask = found.pop(f"{path}.mask", None)
        if mask is not None and not isinstance(edges, DnwEdges):
            raise ImportStateError(
                f"{path}.mask: a random graph of the paper's code, drawn by its own generator, can't be kept "
                f"by {type(edges).__name__}: import it with wiring=dnw"
            )
        if mask is not None and int(mask.count_nonzero()) > edges.budget:
            raise ImportStateError(
                f"{path}.mask: {int(mask.count_nonzero())} edges in the file, but this width keeps "
                f"{edges.budget}: give the width it was trained with"
            )
        if weight is not None:
            found[f"{path}.parametrizations.weight.original"] = weight if mask is None else weight * mask
    if differing := state_dict_diff(found, model.state_dict()):
        raise ImportStateError(
            f"the weights are those of another network; compare model, data and image size:\n{differing}"
        )
    model.load_state_dict(found)
    choose_all(model, step=0)
