"""How many cores a process may use, inside of containers, jobs, and the limits of a login node."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shards.machine.cores import usable_cores

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)


V1 = "11:memory:/user\n4:cpu,cpuacct:{}\n0::/init\n"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),  # docker run --cpus=2
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "350000 100000"}, 3),  # of four threads one would always be throttled
        ("0::/\n", {"cpu.max": "6400000 100000"}, 8),
        (
            "0::/user.slice/user-7.slice/session.scope\n",
            {
                "user.slice/user-7.slice/cpu.max": "400000 100000",
                "user.slice/user-7.slice/session.scope/cpu.max": "max 100000",
            },
            4,
        ),
        ("0::/of/the/host\n", {"cpu.max": "300000 100000"}, 3),  # a container that sees the host's names
        ("0::/../other\n", {"cpu.max": "max 100000"}, 8),
        (
            V1.format("/kubepods/pod1"),
            {
                "cpu/kubepods/pod1/cpu.cfs_quota_us": "150000",
                "cpu/kubepods/pod1/cpu.cfs_period_us": "50000",
                "memory/user/cpu.cfs_quota_us": "1",
                "memory/user/cpu.cfs_period_us": "1",
            },
            3,
        ),
        (V1.format("/docker/1"), {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        (V1.format("/"), {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_limit_of_cpu_time_counts(own: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert usable_cores(tmp_path / "own", tmp_path) == cores


def test_where_nothing_is_known_of_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path) == 8


@pytest.mark.parametrize(("said", "cores"), [("4", 4), ("64", 8), ("", 8), ("0", 1), ("4(x2)", 8)])
def test_a_job_that_is_bound_to_no_cores_has_those_that_slurm_says(
    said: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", said)
    assert usable_cores(tmp_path / "none", tmp_path) == cores


def test_a_limit_of_this_kernel_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    first = Path("/sys/fs/cgroup/cpu")
    group = (first if first.is_dir() else Path("/sys/fs/cgroup")) / f"dnw-test-{os.getpid()}"
    limits = {"cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "50000"}
    try:
        group.mkdir()
        for name, limit in (limits if first.is_dir() else {"cpu.max": "50000 50000"}).items():
            (group / name).write_text(limit)
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no cgroup with a limit of CPU time can be made here: {error}")
    counted = "from shards.machine.cores import usable_cores; print(usable_cores())"
    line = [
        "sh",
        "-c",
        'echo $$ > "$0/cgroup.procs" && exec "$1" -c "$2"',
        str(group),
        sys.executable,
        counted,
    ]
    try:
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    finally:
        group.rmdir()
    assert done.stdout == "1\n"


def test_on_this_machine_it_is_no_more_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
