"""How many cores this process may use, which may be fewer than the machine has.

A job's or a container's cpuset is in the CPU affinity. A limit of CPU time (`docker --cpus`, `limits: cpu`
of Kubernetes, systemd's CPUQuota of a login node's users) is not: it is in the files of control groups. On
clusters that bind no task to cores Slurm's variable alone tells how many a job has.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shards.machine.control_groups import HIERARCHY, PROCESS, folders, text


def usable_cores(process: Path = PROCESS, hierarchy: Path = HIERARCHY) -> int:
    """Return how many cores this process may use; with a limit of CPU time, as many as it keeps busy.

    Args:
        process: the file that names the control groups of this process.
        hierarchy: where groups are mounted.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    limits = [len(os.sched_getaffinity(0)), *(_busy(group) for group in folders("cpu", process, hierarchy))]
    of_slurm = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if of_slurm.isdecimal():
        limits.append(int(of_slurm))
    return max(1, int(min(limits)))


def _busy(group: Path) -> float:
    """Return how many cores a control group may keep busy: CPU time in a period, by its length."""
    words = text(group / "cpu.max").split() or [
        text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    if not all(word.isdecimal() for word in words):  # "max", or -1: no limit; or nothing is said
        return float("inf")
    quota, period = map(int, words)
    return quota / period
