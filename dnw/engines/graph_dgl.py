"""What is left of a network as messages along the edges of graphs, by the Deep Graph Library (dgl.ai).

dgl 1.1.3 is the last version on PyPI for any torch; newer ones are built for one version of it each. It is
there for Python up to 3.11.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from torch import Tensor

from dnw.compact import Compact, Sums
from dnw.engines.forward import Add, Forward, PixelLayout


def graph_dgl(network: Compact) -> Forward:
    """Prepare a graph per sum. Raises ImportError if dgl isn't installed."""
    dgl = _library()

    def sums(one: Sums) -> Add:
        return _messages(dgl, one)

    return Forward(network, PixelLayout.BY_NODE, sums)


def _library() -> Any:
    os.environ.setdefault("DGLBACKEND", "pytorch")  # without it dgl writes a file to the user's home
    try:
        import dgl  # noqa: PLC0415
    except ImportError as error:
        remedy = "python -m pip install 'dnw[dgl]', or take another engine"
        if sys.version_info >= (3, 12):
            remedy = "on PyPI it is there for Python 3.11; take that, or another engine"
        raise ImportError(f"engine dgl needs the Deep Graph Library ({error}): {remedy}") from None
    return dgl


def _messages(dgl: Any, sums: Sums) -> Add:
    edges = (sums.sources, sums.targets().int())
    graph = dgl.create_block(edges, num_src_nodes=sums.columns, num_dst_nodes=sums.count).formats("csc")
    weights_E1, bias_T1 = sums.weights[:, None], sums.bias[:, None]

    def add(given_BSHW: Tensor) -> Tensor:
        given_SBHW = given_BSHW.transpose(0, 1)
        x_TN: Tensor = dgl.ops.u_mul_e_sum(graph, given_SBHW.flatten(1), weights_E1)
        x_TN += bias_T1
        x_TBHW: Tensor = x_TN.unflatten(1, given_SBHW.shape[1:])
        return x_TBHW.transpose(0, 1)

    return add
