"""How the nodes of a graph lie along the rows and columns of its weight matrix.

Shapes: weight_TS with T targets (rows) and S sources (columns); weight[t, s] is the edge from s to t.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layers of nodes, numbered through. Column s is node s, row t is node `first_target` + t.

    A block of the MobileNetV1-like network has no rows for its inputs and no columns for its outputs; the
    static network has both, so its matrix is square. A recurrent graph is a single layer whose nodes are
    applied again and again, each feeding any other: its matrix is square too, and every position is legal.
    """

    layers: tuple[int, ...]  # nodes in each layer; the first are the inputs
    rows: int
    columns: int
    outputs: int  # the last rows are what the block gives out
    image_inputs: int = 0  # recurrent: so many first nodes begin with the image, the rest with nothing

    @property
    def recurrent(self) -> bool:
        """Whether its nodes are applied again and again."""
        return self.image_inputs > 0

    @property
    def nodes(self) -> int:
        """Nodes in all layers."""
        return sum(self.layers)

    @property
    def inputs(self) -> int:
        """Nodes that receive the image, or what the block before gives out."""
        return self.image_inputs if self.recurrent else self.layers[0]

    @property
    def first_target(self) -> int:
        """The node that row 0 leads to."""
        return self.nodes - self.rows

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First node and node after the last, of each layer."""
        stops = tuple(itertools.accumulate(self.layers))
        return tuple(zip((0, *stops[:-1]), stops, strict=True))

    @property
    def source_spans(self) -> tuple[tuple[int, int], ...]:
        """The spans of the layers that have columns, which is where their edges start."""
        return tuple(span for span in self.spans if span[1] <= self.columns)

    def first_fed_row(self, layer: int) -> int:
        """First of the rows that edges from `layer` lead to; they lead to all rows from there on.

        These are the rows of the later layers. From a last layer with columns (static network) they are the
        rows of the outputs, which are read before the nodes there are applied.
        """
        return min(self.spans[layer][1] - self.first_target, self.rows - self.outputs)

    @property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """First row, first column, and column after the last, of each layer's legal edges."""
        return tuple(
            (self.first_fed_row(layer), start, stop) for layer, (start, stop) in enumerate(self.source_spans)
        )

    def legal(self) -> Tensor:
        """Which edges the network can compute, bool [rows, columns]."""
        if self.recurrent:
            return torch.ones(self.rows, self.columns, dtype=torch.bool)
        legal_TS = torch.zeros(self.rows, self.columns, dtype=torch.bool)
        for row, start, stop in self.blocks:
            legal_TS[row:, start:stop] = True
        return legal_TS

    def reference_random(self) -> Tensor:
        """Positions among which the paper's code draws a random graph, bool [rows, columns].

        It takes every layer to be as wide as the output, which is wrong for the static network.
        """
        legal_TS = torch.ones(self.rows, self.columns, dtype=torch.bool)
        if self.recurrent:
            return legal_TS
        for layer, start in enumerate(range(self.inputs, self.columns, self.outputs), 1):
            legal_TS[: layer * self.outputs, start : start + self.outputs] = False
        return legal_TS
