"""Whether weights are those of a network: the names and shapes that differ."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_SHOWN = 8  # differences told before the rest is counted


def state_dict_diff(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Compare names and shapes: a line for each that only one side has so; empty if the weights fit."""
    lines = []
    for name in sorted(found.keys() | wanted.keys()):
        in_file, in_model = (
            str(tuple(tensors[name].shape)) if name in tensors else "missing" for tensors in (found, wanted)
        )
        if in_file != in_model:
            lines.append(f"  {name}: in the file {in_file}, in the model {in_model}")
    more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *more])
