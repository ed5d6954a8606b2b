"""Processes that the kernel killed for lack of memory: as its files tell, and really."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.node.memory_events import memory_mb, oom_kills

SECOND = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n"
FIRST = "9:name=systemd:/\n4:cpu,memory:/slurm/uid_0/job_7/step_0\n0::/\n"
EVENTS = "low 0\nhigh 0\nmax 12\noom 1\noom_kill {}\noom_group_kill 0\n"


def written(hierarchy: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (hierarchy / name).parent.mkdir(parents=True, exist_ok=True)
        (hierarchy / name).write_text(text)
    return hierarchy


@pytest.mark.parametrize(
    ("own", "files", "kills", "limit_mb"),
    [
        (
            SECOND,
            {
                "system.slice/slurmstepd.scope/job_7/step_0/user/task_0/memory.events": EVENTS.format(2),
                "system.slice/slurmstepd.scope/job_7/step_0/user/task_0/memory.max": "max\n",
                "system.slice/slurmstepd.scope/job_7/memory.max": f"{64 * 2**20}\n",
                "system.slice/slurmstepd.scope/job_7/memory.events": EVENTS.format(9),
            },
            *(2, 64),
        ),
        (
            FIRST,
            {
                "memory/slurm/uid_0/job_7/step_0/memory.oom_control": "oom_kill_disable 0\noom_kill 1\n",
                "memory/slurm/uid_0/job_7/step_0/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/slurm/uid_0/job_7/memory.limit_in_bytes": f"{32 * 2**20}\n",
            },
            *(1, 32),
        ),
        ("0::/../../x\n", {"memory.events": EVENTS.format(3)}, 3, 0),  # of a namespace of its own
        ("0::/\n", {}, 0, 0),
        ("", {}, 0, 0),
    ],
)
def test_what_the_kernel_tells(
    tmp_path: Path, own: str, files: dict[str, str], kills: int, limit_mb: int
) -> None:
    process, hierarchy = tmp_path / "cgroup", written(tmp_path / "fs", files)
    process.write_text(own)
    assert oom_kills(process, hierarchy) == kills
    assert memory_mb({}, process, hierarchy) == limit_mb


def test_what_slurm_was_asked_for(tmp_path: Path) -> None:
    nothing = (tmp_path / "cgroup", tmp_path / "fs")
    assert memory_mb({"SLURM_MEM_PER_NODE": "2048"}, *nothing) == 2048
    assert memory_mb({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "8"}, *nothing) == 800


HOG = """
import os, sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
from launch.node.memory_events import memory_mb, oom_kills
before = oom_kills()
if os.fork() == 0:
    Path("/proc/self/oom_score_adj").write_text("1000")  # this one first
    taken = bytearray(os.urandom(1)) * (256 << 20)
    os._exit(0)
_, status = os.wait()
print(os.WTERMSIG(status), oom_kills() - before, memory_mb({}))
"""


def test_a_process_that_takes_too_much(cgroup: Callable[[int], Path]) -> None:
    """The real killer of the kernel."""
    words = [sys.executable, "-c", HOG, str(cgroup(32))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "9 1 32\n"
