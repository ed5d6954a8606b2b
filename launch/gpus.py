"""The GPUs of this machine, found without asking any driver."""

from __future__ import annotations

import os
from pathlib import Path


def given_gpus() -> int | None:
    """Return how many GPUs of this node Slurm has given to the job; None where it doesn't say."""
    if told := os.environ.get("SLURM_GPUS_ON_NODE"):
        return int(told)
    return len(visible_gpus()) if "CUDA_VISIBLE_DEVICES" in os.environ else None


def visible_gpus() -> list[str]:
    """Which NVIDIA GPUs a process started here may use: what CUDA_VISIBLE_DEVICES names, else all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in {"", "-1", "NoDevFiles"}]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
