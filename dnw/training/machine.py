"""The machine facts that the bits of a result depend on: library versions and the kind of hardware."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from dnw.hardware.device import driver_version
from dnw.training.distributed import World

# that compute what a network sees or is; not all of them have to be there
LIBRARIES = (
    *("torch", "triton", "torchvision", "timm", "torchdiffeq", "scipy"),
    *("numpy", "pillow", "simplejpeg"),
)
log = logging.getLogger(__name__)


def facts(device: torch.device) -> dict[str, str]:
    """Return what this process computes with, by names that every machine has."""
    found = {library: _version(library) for library in LIBRARIES}
    found["torch"] = str(torch.__version__)  # with its build, which a wheel's metadata may leave out
    found |= {"cpu": _cpu(), "cpu capability": torch.backends.cpu.get_cpu_capability()}
    is_gpu = device.type == "cuda"
    found["gpu"] = torch.cuda.get_device_name(device) if is_gpu else "none"
    found["cuda"] = str(torch.version.cuda) if is_gpu else "none"
    found["cudnn"] = str(torch.backends.cudnn.version()) if is_gpu else "none"
    found["nccl"] = ".".join(map(str, torch.cuda.nccl.version())) if is_gpu else "none"
    found["driver"] = driver_version() if is_gpu else "none"
    return found


def warn_of_others(before: Mapping[str, str], now: Mapping[str, str], step: int) -> None:
    """Say so if what computed up to this step is not what computes now, in all that both have noted.

    Args:
        before: facts by name, from the checkpoint.
        now: the same of this machine.
        step: of the checkpoint.
    """
    others = [
        f"{name}: {before[name]} before, {value} now"
        for name, value in now.items()
        if before.get(name, value) != value
    ]
    if others:
        log.warning(
            "another kind of machine, or other libraries, than up to step %d: equal bits with a run that "
            "was not moved end here\n  %s",
            *(step, "\n  ".join(others)),
        )


def warn_of_unlike(world: World, now: Mapping[str, str]) -> None:
    """Say so if processes of this attempt differ from the first one; all together."""
    digests = world.gather([_digest(value) for value in now.values()])
    rows = [digests[start : start + len(now)] for start in range(0, len(digests), len(now))]
    unlike: dict[str, list[int]] = {}
    for rank, row in enumerate(rows):
        names = [name for name, digest, first in zip(now, row, rows[0], strict=True) if digest != first]
        unlike.setdefault(", ".join(names), []).append(rank)
    for what, ranks in unlike.items():
        if what:
            log.warning(
                "not the same on rank 0 and on %s: %s; bits will depend on which rank does what. For equal "
                "ones choose nodes of one kind (cluster.constraint, cluster.nodelist)",
                *(", ".join(map(str, ranks)), what),
            )


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _cpu() -> str:
    """Return the model as Linux tells it; elsewhere as Python does."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in info.read_text().split("\n\n")[0].splitlines())
    told = {name.strip(): value.strip() for name, _, value in lines}
    names = ("model name", "cpu family", "model", "stepping")  # a virtual machine's name may say little
    return " ".join(told[name] for name in names if name in told) or platform.machine()


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
