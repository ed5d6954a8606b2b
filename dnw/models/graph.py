"""A graph of channels as one wired 1x1 convolution.

Shapes: x_BCHW feature maps; x_NC the same as N = B*H*W pixels of C channels; weight_TS the graph, T targets
(rows), S sources (columns), held as [T, S, 1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnw.config import Train
from dnw.wiring import Layout, wire
from dnw.wiring.making import graph_edges


class Graph(nn.Conv2d):
    """The weights of all edges of a graph, and how signals run along them."""

    def __init__(self, train: Train, number: int, layout: Layout, *, dense: int, power: int) -> None:
        """Build graph `number` of a model, wired as `train` says, without bias.

        The weights start as torch's convolutions do, as in the paper's code: uniform, in proportion to
        1/sqrt(columns).

        Args:
            train: the wiring, the width and the seed.
            number: of the graph, from 0.
            layout: of its nodes.
            dense: edges at width 1.
            power: of the width, in the budget (dnw.wiring.budget).

        Raises:
            ConfigError: the width asks for more edges than are legal.
        """
        super().__init__(layout.columns, layout.rows, kernel_size=1, bias=False)
        self.layout = layout
        wire(self, graph_edges(train, number, layout, dense=dense, power=power))

    def propagate(self, x_BCHW: Tensor, node: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Send signals through the graph, layer by layer, and return what the outputs receive.

        `node(i, x)` applies the nodes of layer i to what they have received; layer 0 receives `x_BCHW`.
        Only legal edges are computed.
        """
        layout = self.layout
        # accessed once, since each access masks the whole matrix
        blocks = cast("tuple[Tensor, ...]", _LegalBlocks.apply(self.weight.flatten(1), layout))  # type: ignore[no-untyped-call]
        h_BCHW = node(0, x_BCHW)
        size = h_BCHW.shape
        # what the nodes of all later layers have received so far, those of the coming layer first
        sum_NT = F.linear(pixels(h_BCHW), blocks[0])
        for layer, weight_TS in enumerate(blocks[1:], 1):
            targets, sources = weight_TS.shape
            x_NS, rest_NT = _part(sum_NT, sources, sum_NT.shape[1] - targets)
            h_NS = pixels(node(layer, maps(x_NS, size)))
            sum_NT = torch.addmm(rest_NT, h_NS, weight_TS.t())
        return maps(sum_NT, size)


class _LegalBlocks(torch.autograd.Function):
    """The legal edges of a matrix, a block for each layer that they start from.

    As slices they would do, too, but then each gradient would be padded to the whole matrix and added.
    """

    @staticmethod
    def forward(ctx: Any, weight_TS: Tensor, layout: Layout) -> tuple[Tensor, ...]:
        ctx.layout = layout
        return tuple(weight_TS[row:, start:stop] for row, start, stop in layout.blocks)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        layout: Layout = ctx.layout
        whole_TS = gradients[0].new_empty(layout.rows, layout.columns)
        for gradient_TS, (row, start, stop) in zip(gradients, layout.blocks, strict=True):
            whole_TS[:row, start:stop] = 0
            whole_TS[row:, start:stop] = gradient_TS
        return whole_TS, None


def channels_last(x_BCHW: Tensor) -> Tensor:
    """Lay the channels of a pixel side by side: norms and depthwise filters run up to four times as fast."""
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def mix(x_BCHW: Tensor, weight_TS: Tensor) -> Tensor:
    """Send the S channels of every pixel along the edges to T channels: a 1x1 convolution."""
    return maps(F.linear(pixels(x_BCHW), weight_TS), x_BCHW.shape)


def pixels(x_BCHW: Tensor) -> Tensor:
    """Return x_NC, which is a view where the channels of a pixel lie side by side."""
    return channels_last(x_BCHW).permute(0, 2, 3, 1).flatten(0, 2)


def maps(x_NC: Tensor, size: torch.Size) -> Tensor:
    """Return the pixels as feature maps, of batch, height and width as in `size`; a view where possible."""
    batch, _, height, width = size
    return channels_last(x_NC.view(batch, height, width, -1).permute(0, 3, 1, 2))


def _part(x_NC: Tensor, nodes: int, passed: int) -> tuple[Tensor, Tensor]:
    """Return the first `nodes` channels, and those after the first `passed`."""
    if nodes == passed:  # in the backward one concatenation, where two slices would be padded and added
        first, rest = x_NC.split((nodes, x_NC.shape[1] - nodes), dim=1)
        return first, rest
    return x_NC[:, :nodes], x_NC[:, passed:]
