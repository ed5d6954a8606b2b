"""What is left of a network as torch's sparse matrices, in compressed rows."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dnw.compact import Compact, Sums
from dnw.engines.forward import Add, Forward, PixelLayout


def csr(network: Compact) -> Forward:
    """Prepare sparse matrices."""
    return Forward(network, PixelLayout.BY_NODE, _matrix)


def _matrix(sums: Sums) -> Add:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
        weight_TS = torch.sparse_csr_tensor(
            sums.starts, sums.sources, sums.weights, (sums.count, sums.columns), check_invariants=True
        )
    bias_T1 = sums.bias[:, None]

    def add(given_BSHW: Tensor) -> Tensor:
        given_SBHW = given_BSHW.transpose(0, 1)
        x_TN: Tensor = torch.sparse.mm(weight_TS, given_SBHW.flatten(1))
        x_TN += bias_T1
        x_TBHW: Tensor = x_TN.unflatten(1, given_SBHW.shape[1:])
        return x_TBHW.transpose(0, 1)

    return add
