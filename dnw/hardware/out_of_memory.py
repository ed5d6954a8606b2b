"""Memory that was too small: of a GPU, of a process, or shared with the processes that load images."""

from __future__ import annotations

import re
import traceback
from typing import Literal

import torch

from dnw.config import Train

# device: a GPU's. process: what a CPU computes in. shared: batches on their way from the loading processes.
Memory = Literal["device", "process", "shared"]

# CUDA's own words, and those of cuBLAS, cuDNN and NCCL, which allocate beside torch
_OF_A_DEVICE = re.compile(
    r"CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|DEVICE_ALLOCATION_FAILED|"
    r"Cuda failure (\d+ )?'out of memory'"
)
_OF_A_PROCESS = re.compile(r"DefaultCPUAllocator: (can't allocate|not enough) memory.*")
_SHARED = re.compile(
    r"unable to .*/torch_.*(No space left on device|Cannot allocate memory) \(\d+\)|"
    r"DataLoader worker .*killed by signal: Bus error"
)
_ELSEWHERE = {"device": "GPUs with more memory (cluster.constraint)", "process": "more memory (cluster.mem)"}


def lacking(error: BaseException) -> Memory | None:
    """Return which memory was too small, if that is what an exception tells."""
    if isinstance(error, torch.OutOfMemoryError):
        return "device"
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if _OF_A_DEVICE.search(text):
        return "device"
    if _SHARED.search(text):
        return "shared"
    return "process" if _OF_A_PROCESS.search(text) else None


def ran_out(error: BaseException) -> str:
    """Return what ran out, in torch's words: bytes wanted, free, in all."""
    text = str(error)
    for pattern in (_OF_A_PROCESS, _SHARED):
        if found := pattern.search(text):
            return found[0].strip()
    said = re.match(r".*? is free\.", text, re.DOTALL)
    lines = text.splitlines() or [""]
    line = next(filter(_OF_A_DEVICE.search, lines), lines[0])  # NCCL says it last
    return " ".join((said[0] if said else line).split()).rstrip(".")


def smaller(size: int) -> int | None:
    """Return the largest size that divides another one, below it; None of 1."""
    return next((size // n for n in range(2, size + 1) if size % n == 0), None)


def what_would_fit(error: BaseException, train: Train) -> str:
    """Return what ran out in a run, and the settings that need less."""
    memory = lacking(error)
    if memory is None or memory == "shared":
        workers = train.data.workers
        fewer = f"data.workers={workers // 2} (now {workers}) or " if workers > 1 else ""
        return f"{ran_out(error)}; try {fewer}data.workers=0, or free /dev/shm on the node"
    return f"{ran_out(error)}; {_of_a_step(error, train)}, or {_ELSEWHERE[memory]}"


def _of_a_step(error: BaseException, train: Train) -> str:
    files = {frame.filename.rpartition("/")[2] for frame in traceback.extract_tb(error.__traceback__)}
    if "evaluation.py" in files:
        setting, size = "eval_batch", train.eval_batch
    else:
        setting, size = "micro_batch", train.micro_batch
    less = smaller(size)
    fits = [f"{setting}={less} (now {size})"] if less else []
    if train.precision != "bf16":
        fits.append("precision=bf16")
    return f"try {' or '.join(fits)}" if fits else f"a smaller network fits ({setting} is 1)"
