"""Which nodes and edges of a graph are in use: chosen, or on a path from the image to the classifier.

A node without incoming edges still gives out a constant, its norm's bias rectified. That carries nothing of
the image, so such a node is on no path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from dnw.wiring.edges import Edges
from dnw.wiring.layout import Layout


@dataclasses.dataclass(frozen=True)
class Use:
    """What of one graph is in use: bool tensors on the CPU."""

    layout: Layout
    edges: Tensor  # [rows, columns]
    sources: Tensor  # [columns]: nodes with a column
    outputs: Tensor  # [outputs]


def chosen(edges: Edges) -> Use:
    """Return what the chosen edges touch, as the paper counts it: illegal edges too, if there are any.

    Raises ValueError for a weight without a layout.
    """
    layout = edges.layout
    if layout is None:
        raise ValueError("the layers of a graph are needed, and this weight was wired without a layout")
    edges_TS = edges.mask.cpu().view(layout.rows, layout.columns)
    return Use(layout, edges_TS, edges_TS.any(0), edges_TS[-layout.outputs :].any(1))


def on_paths(chain: Sequence[Edges]) -> list[Use]:
    """Return what lies on a path through a chain of graphs, each one's outputs being the next one's inputs.

    All inputs of the first graph count as image, all outputs of the last as used. Raises ValueError for a
    weight without a layout.
    """
    uses = [_legal(chosen(edges)) for edges in chain]
    for place, use in enumerate(uses):
        inputs = uses[place - 1].outputs if place else torch.ones(use.layout.inputs, dtype=torch.bool)
        uses[place] = _reached(use, inputs)
    for place in reversed(range(len(uses))):
        is_last = place == len(uses) - 1
        used = uses[place].outputs if is_last else uses[place + 1].sources[: len(uses[place].outputs)]
        uses[place] = _useful(uses[place], used)
    return uses


def step_by_step(edges: Edges, steps: int) -> list[Use]:
    """Return what of a recurrent graph lies on a path in each of `steps` steps.

    Each step replaces what the nodes give out. The image is in the image inputs before the first step, and
    the outputs are read after the last one. Raises ValueError for a weight without a layout.
    """
    use = chosen(edges)
    reached = [_image_inputs(use.layout)]
    for _ in range(steps):
        reached.append((use.edges & reached[-1]).any(1))
    useful, uses = _read(use.layout), []
    for before in reversed(reached[:-1]):
        uses.append(_between(use, before, useful))
        useful = uses[-1].sources
    return uses[::-1]


def in_continuous_time(edges: Edges) -> Use:
    """Return what of a recurrent graph lies on a path of any length: what a node has received, it keeps.

    Raises ValueError for a weight without a layout.
    """
    use = chosen(edges)
    reached = _closure(use.edges, _image_inputs(use.layout))
    return _between(use, reached, _closure(use.edges.t(), _read(use.layout)))


def together(uses: Sequence[Use]) -> Use:
    """Return what is in use in any of several steps of one graph; outputs are those of the last step."""
    edges_TS = torch.stack([use.edges for use in uses]).any(0)
    return Use(uses[0].layout, edges_TS, edges_TS.any(0), uses[-1].outputs)


def _image_inputs(layout: Layout) -> Tensor:
    return torch.arange(layout.columns) < layout.inputs


def _read(layout: Layout) -> Tensor:
    return torch.arange(layout.rows) >= layout.rows - layout.outputs


def _closure(edges_TS: Tensor, begin: Tensor) -> Tensor:
    """All nodes that a path leads to, from the nodes `begin` and with them."""
    while not torch.equal(grown := begin | (edges_TS & begin).any(1), begin):
        begin = grown
    return begin


def _between(use: Use, sources: Tensor, targets: Tensor) -> Use:
    edges_TS = use.edges & sources & targets[:, None]
    return Use(use.layout, edges_TS, edges_TS.any(0), edges_TS[-use.layout.outputs :].any(1))


def _legal(use: Use) -> Use:
    return dataclasses.replace(use, edges=use.edges & use.layout.legal())


def _reached(use: Use, inputs: Tensor) -> Use:
    """Keep what the given inputs reach."""
    layout = use.layout
    sources = torch.zeros(layout.columns, dtype=torch.bool)
    sources[: layout.inputs] = inputs
    for start, stop in layout.source_spans[1:]:
        rows = use.edges[start - layout.first_target : stop - layout.first_target, :start]
        sources[start:stop] = (rows & sources[:start]).any(1)
    edges_TS = use.edges & sources
    return Use(layout, edges_TS, sources, edges_TS[-layout.outputs :].any(1))


def _useful(use: Use, outputs: Tensor) -> Use:
    """Keep what reaches the given outputs."""
    layout = use.layout
    sources = torch.zeros(layout.columns, dtype=torch.bool)
    targets = torch.zeros(layout.rows, dtype=torch.bool)
    targets[-layout.outputs :] = outputs
    for start, stop in reversed(layout.source_spans):
        sources[start:stop] = (use.edges[:, start:stop] & targets[:, None]).any(0)
        if start >= layout.first_target:
            targets[start - layout.first_target : stop - layout.first_target] |= sources[start:stop]
    return Use(layout, use.edges & targets[:, None], sources, use.outputs & outputs)
