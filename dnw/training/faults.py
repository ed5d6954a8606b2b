"""Faults on purpose, by name, for tests and drills.

`DNW_FAULT="1:step 7"` has rank 1 kill itself with SIGKILL when it reaches the point named `step 7`. A third
word says what it does instead: with `DNW_FAULT="1:step 7:SIGTERM"` it sends itself that signal, with HANG it
waits for ever, with SLOW for 0.2 s, and with one of the names in RAISED it raises what torch raises of a GPU;
with `SIGTERM@job` it sends the signal to the job that started its agent, as a cluster does, and notes when in
the file that DNW_FAULT_NOTE names. A fourth word names the only attempt in which that happens, a fifth a file
that has to be there first, since checkpoints are written asynchronously. Points: `step N` when N steps are
done, `load` when a micro-batch is there, `evaluate N` amid an evaluation, `save FILE` when a checkpoint is
written but not published yet; `*` stands for anything. Several faults are separated by semicolons.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

MEMORY = """\
CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.56 GiB \
is free. Including non-PyTorch memory, this process has 77.54 GiB memory in use."""
RAISED: dict[str, Callable[[], Exception]] = {
    "ECC": lambda: torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered\nCompile with"),
    "ASSERT": lambda: torch.AcceleratorError("CUDA error: device-side assert triggered"),
    "NCCL": lambda: dist.DistBackendError("NCCL error in: NCCLUtils.cpp:94, ncclRemoteError: a peer is gone"),
    "MEMORY": lambda: torch.OutOfMemoryError(MEMORY),
}


def reach(point: str) -> None:
    """Do to this process what was asked for at this point, if anything was."""
    asked = os.environ.get("DNW_FAULT")
    for fault in asked.split(";") if asked else ():
        _do(fault, point)


def _do(fault: str, point: str) -> None:
    rank, where, what, attempt, awaited, *_ = [*fault.split(":"), "", "", "", ""]
    if not fnmatch.fnmatchcase(point, where) or os.environ.get("RANK", "0") != rank:
        return
    if attempt not in {"", os.environ.get("DNW_ATTEMPT", "")}:
        return
    while awaited and not Path(awaited).exists():
        time.sleep(0.01)
    if what in RAISED:
        raise RAISED[what]()
    if what == "SLOW":
        time.sleep(0.2)
        return
    if what == "HANG":
        threading.Event().wait()
    name, _, whom = what.partition("@")
    process = os.getpid()
    if whom == "job":
        process = int(os.environ["DNW_JOB_PID"])
        note = Path(os.environ["DNW_FAULT_NOTE"])
        if note.exists():  # amid an evaluation the point comes again
            return
        note.write_text(str(time.time()))
    os.kill(process, signal.Signals[name or "SIGKILL"])
