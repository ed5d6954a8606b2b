"""Whether enough cores decode images to keep a GPU busy."""

from __future__ import annotations

import math

from dnw.config import RESNETS, Train
from launch.config import Launch
from shards.machine.cores import usable_cores

# Photographs of 500 x 375 pixels that a core decodes and crops in a second: measured, docs/benchmarks.md.
DECODED_PER_CORE = 760
# Images of 224 px that a GPU may take in a second, reckoned and not measured: MobileNetV1-like of width 0.225
# by the bytes that its step moves on an H100; ResNet-50 as published for dense ones on an A100.
TAKEN = {
    "mobilenet": {"fp32": 2900, "tf32": 2900, "bf16": 6000},
    **{name: {"fp32": 1000, "tf32": 1000, "bf16": 2700} for name in RESNETS},
}


def cores_needed(train: Train) -> int | None:
    """Return how many cores must decode for one GPU; None: nobody has reckoned how much it takes."""
    taken = TAKEN.get(train.model.name)
    is_photographs = train.data.augment == "resized_crop_flip"
    return math.ceil(taken[train.precision] / DECODED_PER_CORE) if taken and is_photographs else None


def doubt(train: Train, launch: Launch) -> str | None:
    """Return what to say where fewer cores decode than a GPU needs."""
    needed, processes = cores_needed(train), launch.processes_per_node
    if not launch.gpus or needed is None:
        return None
    workers, cores = train.data.workers, _cores(launch)
    most = needed if cores is None else cores // processes
    decoding = max(1, min(workers, most))  # without workers the training process decodes
    if decoding >= needed:
        return None
    remedies = [f"data.workers={needed}"] if workers < needed else []
    if most < needed:
        whole = processes * (needed + train.threads)
        is_slurm = launch.cluster.name == "slurm"
        remedies.append(f"cluster.cpus_per_task={whole}" if is_slurm else f"nproc=1 on these {cores} cores")
    taken, cores_each = TAKEN[train.model.name][train.precision], "core" if decoding == 1 else "cores"
    return (
        f"the loader may starve the GPUs: each may take {taken:,} images/s (reckoned, not measured), and "
        f"{decoding} {cores_each} for each give {DECODED_PER_CORE * decoding:,}; set {' and '.join(remedies)}"
    )


def _cores(launch: Launch) -> int | None:
    """Cores of a node that the run may use; None: as many as its workers ask for."""
    if launch.cluster.name == "local":
        return usable_cores()
    return launch.cluster.cpus_per_task
