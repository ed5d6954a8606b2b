"""Tell faults of a GPU or of a peer from faults of the run, when training ends in an exception.

A GPU that breaks (ECC, Xid, a link) raises AcceleratorError in whatever comes next, or an error of cuBLAS or
cuDNN, or makes NCCL's call to CUDA fail. That is the node's fault: such an attempt counts as killed, and the
node may be excluded. The other ranks see a collective operation that broke, which follows from it. What would
come again on any node, an assertion in a kernel, a kernel that torch has not been built with, too little
memory, is an error of the run.
"""

from __future__ import annotations

import re
from typing import Literal

import torch
import torch.distributed as dist

from dnw.hardware import out_of_memory

# device: of this process's own. peer: of another one, or of the network in between.
Fault = Literal["device", "peer"]

# What CUDA says of calls that fail alike on every node.
OF_THE_RUN = re.compile(
    r"device-side assert|no kernel image|invalid (argument|configuration|device function|ptx)|unsupported "
    r"(toolchain|PTX)|feature is not supported|driver version is insufficient",
    re.IGNORECASE,
)
BROKEN_LIBRARY = re.compile(r"CU(BLAS|DNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)")
MISUSE = re.compile(r"ncclInvalid(Usage|Argument)")
FAILED_CALL = "ncclUnhandledCudaError"
# gloo raises a plain RuntimeError
PEER_LEFT = re.compile(r"gloo/transport/.*(Connection (closed|reset) by peer|Broken pipe)")


def fault_of(error: BaseException) -> Fault | None:
    """Return whose fault an exception is; None: the run's own."""
    text = str(error)
    if out_of_memory.lacking(error):
        return None
    if isinstance(error, dist.DistError):
        if MISUSE.search(text):
            return None
        return "device" if FAILED_CALL in text else "peer"
    if isinstance(error, torch.AcceleratorError):
        return None if OF_THE_RUN.search(text) else "device"
    return _of_a_library(text) if isinstance(error, RuntimeError) else None


def _of_a_library(text: str) -> Fault | None:
    if PEER_LEFT.search(text):
        return "peer"
    return "device" if BROKEN_LIBRARY.search(text) else None
