"""The device that a process computes on: what it was launched for, or a refusal that says what is in the way.

The launcher passes on how many GPUs its node was asked for. Without its word, under a torchrun started by
hand, the GPU is taken where there is one. Nothing falls back to the CPU: a run that was to train on GPUs
would take weeks there, and look healthy.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

GPUS = "DNW_GPUS"  # how many GPUs were asked for on this node; 0: train on the CPU
NO_DRIVER = "no driver"
HAS_TRITON = importlib.util.find_spec("triton") is not None  # for kernels on a GPU; torch for CUDA brings it
# The least compute capabilities for which Triton compiles, and in bfloat16; before, ptxas refuses it.
KERNELS_FROM, BF16_FROM = (7, 0), (8, 0)
# Driver and GPU. Without persistence mode each GPU wakes in 1 to 3 s, says NVIDIA (Driver Persistence).
ANSWERS_WITHIN_S = 60.0
SILENT = "no answer of the GPU"
T = TypeVar("T")
_DRIVER = Path("/proc/driver/nvidia/version")


class SilentError(ValueError):
    """A driver, or a GPU, that gives no answer: the node's fault."""


class DeviceError(RuntimeError):
    """A device that can't be used as the run was launched; `rank` is the first process that has none."""

    def __init__(self, message: str, rank: int) -> None:
        super().__init__(message)
        self.rank = rank


def driver_version() -> str:
    """Return the version of NVIDIA's kernel driver, as the kernel tells it, or "no driver"."""
    told = _DRIVER.read_text() if _DRIVER.exists() else ""
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", told)
    return found[0] if found else NO_DRIVER


@functools.cache
def takes_kernels(device: torch.device, dtype: torch.dtype = torch.float32) -> bool:
    """Whether this project's kernels can be compiled for a device; elsewhere torch's operations do the same.

    Args:
        device: where the values are.
        dtype: of the values that are read and written.
    """
    if device.type != "cuda" or not HAS_TRITON:
        return False
    least = BF16_FROM if dtype == torch.bfloat16 else KERNELS_FROM
    return torch.cuda.get_device_capability(device) >= least


def in_time(act: Callable[[], T]) -> T:
    """Return what is found in a thread: a driver that hangs answers nothing, and can't be interrupted.

    Raises:
        SilentError: that takes longer than ANSWERS_WITHIN_S.
    """
    found: list[T] = []
    raised: list[Exception] = []

    def tried() -> None:
        try:
            found.append(act())
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=tried, name="device", daemon=True)
    thread.start()
    thread.join(ANSWERS_WITHIN_S)
    if raised:
        raise raised[0]
    if not found:
        raise SilentError(f"{SILENT} within {ANSWERS_WITHIN_S:g} s")
    return found[0]


def choose(environment: Mapping[str, str] = os.environ) -> torch.device:
    """Return the device of this process: its own GPU, or the CPU if no GPU was asked for.

    This is the first that the process asks the driver.

    Raises:
        ValueError: GPUs were asked for and CUDA can't be used, or there are fewer than processes here.
    """
    asked = environment.get(GPUS)
    if asked == "0":
        return torch.device("cpu")
    is_usable, complaint = _is_cuda_usable()
    if not is_usable:
        if asked is None:
            return torch.device("cpu")
        raise ValueError(
            f"{asked} GPUs a node were asked for, but CUDA can't be used: {_facts(environment)}{complaint}"
        )
    local_rank, processes = (
        int(environment.get(name, n)) for name, n in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
    )
    if (count := torch.cuda.device_count()) < processes:
        raise ValueError(
            f"{processes} processes on this node, but {count} GPUs to be seen: {_facts(environment)}"
        )
    return torch.device("cuda", local_rank)


def check_alike(told: Sequence[str]) -> None:
    """Refuse processes of which some can't have their device, or that have devices of different kinds.

    Args:
        told: for each rank the kind of its device, "cpu" or "cuda", or why it has none.

    Raises:
        DeviceError: they would wait for each other for ever, each in a process group of its own kind.
    """
    kinds = {kind: [rank for rank, one in enumerate(told) if one == kind] for kind in dict.fromkeys(told)}
    refused = [kind for kind in kinds if kind not in {"cpu", "cuda"}]
    if refused:
        others = "; ".join(f"{_ranks(kinds[why])}: {why}" for why in refused)
        raise DeviceError(f"{others}. {_REMEDY}", kinds[refused[0]][0])
    if len(kinds) > 1:
        said = ", ".join(f"{_ranks(ranks)}: {kind}" for kind, ranks in kinds.items())
        raise DeviceError(
            f"not all processes have the same kind of device ({said}); {_REMEDY}", kinds["cpu"][0]
        )


_REMEDY = (
    "Ask for a GPU for each process (cluster.gpus_per_node), on nodes where nvidia-smi lists them, with a "
    "build of torch for CUDA; or train on the CPU, cluster.gpus_per_node=0"
)


def _is_cuda_usable() -> tuple[bool, str]:
    """Whether it is, and what torch has warned of when it was asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        is_usable = torch.cuda.is_available()
    complaints = " ".join(str(one.message).split("\n")[0] for one in caught)
    return is_usable, f" ({complaints})" if complaints else ""


def _facts(environment: Mapping[str, str]) -> str:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    named = "not set" if visible is None else repr(visible)
    return f"{_driver()}, torch {torch.__version__} {built}, CUDA_VISIBLE_DEVICES {named}"


def _driver() -> str:
    version = driver_version()
    return version if version == NO_DRIVER else f"driver {version}"


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
