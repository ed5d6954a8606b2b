"""A graph of channels as one wired 1x1 convolution.

Shapes: x_BCHW feature maps; x_NC the same as N = B*H*W pixels of C channels; weight_TS the graph, T targets
(rows), S sources (columns), held as [T, S, 1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.wiring import CompleteEdges, DnwEdges, Edges, Layout, RandomEdges, wire
from dnw.wiring.budget import budget, reference_quota, widest

_RANDOM_GRAPH = int.from_bytes(b"wiring")  # sets the random numbers of graphs apart from those of data


class Graph(nn.Conv2d):
    """The weights of all edges of a graph, and how signals run along them."""

    def __init__(self, train: Train, number: int, layout: Layout, *, dense: int, power: int) -> None:
        """Build graph `number` of a model, wired as `train` says, without bias.

        `dense` and `power` set its budget, see dnw.wiring.budget. The weights start as torch's convolutions
        do, as in the paper's code: uniform, in proportion to 1/sqrt(columns).
        Raises ConfigError if the width asks for more edges than are legal.
        """
        super().__init__(layout.columns, layout.rows, kernel_size=1, bias=False)
        self.layout = layout
        wire(self, _edges(train, number, layout, dense, power))

    def propagate(self, x_BCHW: Tensor, node: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Send signals through the graph, layer by layer, and return what the outputs receive.

        `node(i, x)` applies the nodes of layer i to what they have received; layer 0 receives `x_BCHW`.
        Only legal edges are computed.
        """
        layout = self.layout
        # accessed once, since each access masks the whole matrix, and split, since each slice of it would pad
        # its gradient to the whole
        columns = [stop - start for start, stop in layout.source_spans]
        weights_TS = self.weight.flatten(1).split(columns, dim=1)
        h_BCHW = node(0, x_BCHW)
        size = h_BCHW.shape
        first_row = layout.first_fed_row(0)
        # what the nodes of all later layers have received so far, those of the coming layer first
        sum_NT = F.linear(_pixels(h_BCHW), weights_TS[0][first_row:])
        for layer, weight_TS in enumerate(weights_TS[1:], 1):
            passed, first_row = first_row, layout.first_fed_row(layer)
            x_NS, rest_NT = _part(sum_NT, weight_TS.shape[1], first_row - passed)
            h_NS = _pixels(node(layer, _maps(x_NS, size)))
            sum_NT = torch.addmm(rest_NT, h_NS, weight_TS[first_row:].t())
        return _maps(sum_NT, size)


def channels_last(x_BCHW: Tensor) -> Tensor:
    """Lay the channels of a pixel side by side: norms and depthwise filters run up to four times as fast."""
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def _pixels(x_BCHW: Tensor) -> Tensor:
    return channels_last(x_BCHW).permute(0, 2, 3, 1).flatten(0, 2)


def _maps(x_NC: Tensor, size: torch.Size) -> Tensor:
    batch, _, height, width = size
    return channels_last(x_NC.view(batch, height, width, -1).permute(0, 3, 1, 2))


def _part(x_NC: Tensor, nodes: int, passed: int) -> tuple[Tensor, Tensor]:
    """Return the first `nodes` channels, and those after the first `passed`."""
    if nodes == passed:  # in the backward one concatenation, where two slices would be padded and added
        first, rest = x_NC.tensor_split((nodes,), dim=1)
        return first, rest
    return x_NC[:, :nodes], x_NC[:, passed:]


def _edges(train: Train, number: int, layout: Layout, dense: int, power: int) -> Edges:
    shape = (layout.rows, layout.columns, 1, 1)
    legal = _legal(train, layout)
    if train.wiring.name == "complete":
        return CompleteEdges(shape, legal=legal, layout=layout)
    assert train.width is not None  # dnw.config has seen to that
    edges = budget(train.width, dense, power)
    positions = layout.rows * layout.columns if legal is None else int(legal.sum())
    if edges > positions:
        raise ConfigError(
            f"width: {train.width} asks for {edges} edges in graph {number}, which has {positions} legal "
            f"ones: take at most {widest(positions, dense, power)}"
        )
    quota = reference_quota(train.width, dense, power) if train.wiring.reference_quirks else None
    if train.wiring.name == "random":
        key = (train.seed, _RANDOM_GRAPH, number)
        return RandomEdges(shape, edges, key=key, legal=legal, layout=layout, quota=quota)
    return DnwEdges(shape, edges, legal=legal, layout=layout, quota=quota)


def _legal(train: Train, layout: Layout) -> Tensor | None:
    if not train.wiring.reference_quirks:
        legal_TS = layout.legal()
    elif train.wiring.name == "random":
        legal_TS = layout.reference_random()
    else:
        return None
    return None if bool(legal_TS.all()) else legal_TS[:, :, None, None]
