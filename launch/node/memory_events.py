"""Whether the kernel has killed processes of this job for lack of memory, as its cgroup tells.

A SIGKILL doesn't say who sent it. The kernel counts those of its out-of-memory killer for each cgroup:
`oom_kill` in memory.events (version 2, those of the cgroups below included) or in memory.oom_control
(version 1). A step of a Slurm job has a cgroup of its own, in which its workers are, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from shards.machine.control_groups import HIERARCHY, PROCESS, folders, text

COUNTERS = ("memory.events", "memory.oom_control")
LIMITS = ("memory.max", "memory.limit_in_bytes")
UNLIMITED = 2**60  # version 1 writes some number that large


def oom_kills(process: Path = PROCESS, hierarchy: Path = HIERARCHY) -> int:
    """Return how many processes were killed so far; 0 too where the kernel doesn't count them."""
    for folder in folders("memory", process, hierarchy):
        for name in COUNTERS:
            found = re.search(r"^oom_kill (\d+)", text(folder / name), re.MULTILINE)
            if found:
                return int(found[1])
    return 0


def memory_mb(
    environment: Mapping[str, str] = os.environ, process: Path = PROCESS, hierarchy: Path = HIERARCHY
) -> int:
    """Return the memory of this node, in MB, that was asked for, or is the limit; 0: unlimited.

    Args:
        environment: of the job.
        process: the file that names its control group.
        hierarchy: the folder where control groups are.
    """
    if asked := environment.get("SLURM_MEM_PER_NODE"):
        return int(asked)
    if each := environment.get("SLURM_MEM_PER_CPU"):
        return int(each) * int(environment.get("SLURM_CPUS_ON_NODE", "1"))
    limits = [
        text(folder / name).strip() for folder in folders("memory", process, hierarchy) for name in LIMITS
    ]
    known = [int(limit) for limit in limits if limit.isdigit() and int(limit) < UNLIMITED]
    return min(known, default=0) // 2**20
