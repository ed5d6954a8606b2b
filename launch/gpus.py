"""The GPUs of this machine, found without asking any driver."""

from __future__ import annotations

import os
from pathlib import Path

SLICE = "MIG-"  # how CUDA names one


def given_gpus() -> int | None:
    """Return how many GPUs of this node Slurm has given to the job; None where it doesn't say."""
    visible = visible_gpus() if "CUDA_VISIBLE_DEVICES" in os.environ else None
    told = os.environ.get("SLURM_GPUS_ON_NODE")
    if told and not (visible and visible[0].startswith(SLICE)):
        return int(told)
    return None if visible is None else len(visible)


def visible_gpus() -> list[str]:
    """Which NVIDIA GPUs a process started here may use: what CUDA_VISIBLE_DEVICES names, else all.

    Of slices of GPUs CUDA shows a process the first one alone.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        names = [name for name in named.split(",") if name.strip() not in {"", "-1", "NoDevFiles"}]
        return names[:1] if names and names[0].startswith(SLICE) else names
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
