"""Tell faults of a GPU or of a peer from faults of the run, when training ends in an exception.

A GPU that breaks (ECC, Xid, a link) raises AcceleratorError in whatever comes next, or an error of cuBLAS or
cuDNN, or makes NCCL's call to CUDA fail. That is the node's fault: such an attempt counts as killed, and the
node may be excluded. The other ranks see a collective operation that broke, which follows from it. What would
come again on any node, an assertion in a kernel, a kernel that torch has not been built with, too little
memory, is an error of the run.
"""

from __future__ import annotations

import re
import traceback
from typing import Literal

import torch
import torch.distributed as dist

from dnw.config import Train

# device: of this process's own. peer: of another one, or of the network in between.
Fault = Literal["device", "peer"]

# What CUDA says of calls that fail alike on every node.
OF_THE_RUN = re.compile(
    r"device-side assert|no kernel image|invalid (argument|configuration|device function|ptx)|unsupported "
    r"(toolchain|PTX)|feature is not supported|driver version is insufficient",
    re.IGNORECASE,
)
BROKEN_LIBRARY = re.compile(r"CU(BLAS|DNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)")
# CUDA's own words, and those of cuBLAS, cuDNN and NCCL, which allocate beside torch
OUT_OF_MEMORY = re.compile(
    r"CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|DEVICE_ALLOCATION_FAILED|"
    r"Cuda failure (\d+ )?'out of memory'"
)
MISUSE = re.compile(r"ncclInvalid(Usage|Argument)")
FAILED_CALL = "ncclUnhandledCudaError"
# gloo raises a plain RuntimeError
PEER_LEFT = re.compile(r"gloo/transport/.*(Connection (closed|reset) by peer|Broken pipe)")


def fault_of(error: BaseException) -> Fault | None:
    """Return whose fault an exception is; None: the run's own."""
    text = str(error)
    if is_out_of_memory(error):
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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory of the GPU was too small."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))


def what_would_fit(error: BaseException, train: Train) -> str:
    """Return what ran out, in torch's words (bytes wanted, free, in all), and the settings that need less."""
    text = str(error)
    said = re.match(r".*? is free\.", text, re.DOTALL)
    lines = text.splitlines() or [""]
    line = next(filter(OUT_OF_MEMORY.search, lines), lines[0])  # NCCL says it last
    ran_out = " ".join((said[0] if said else line).split()).rstrip(".")
    return f"{ran_out}; {_smaller(error, train)}, or GPUs with more memory (cluster.constraint)"


def _smaller(error: BaseException, train: Train) -> str:
    files = {frame.filename.rpartition("/")[2] for frame in traceback.extract_tb(error.__traceback__)}
    if "evaluation.py" in files:
        setting, size = "eval_batch", train.eval_batch
    else:
        setting, size = "micro_batch", train.micro_batch
    smaller = next((size // n for n in range(2, size + 1) if size % n == 0), None)
    fits = [f"{setting}={smaller} (now {size})"] if smaller else []
    if train.precision != "bf16":
        fits.append("precision=bf16")
    return f"try {' or '.join(fits)}" if fits else f"a smaller network fits ({setting} is 1)"
