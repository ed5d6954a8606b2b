"""Jobs on a test cluster: handed in, and watched."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm.cluster import Cluster


def submit(cluster: Cluster, script: str, *options: str) -> str:
    """Hand a shell script in; its output goes nowhere. The job's id."""
    return cluster.run("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}").strip()


def fields(cluster: Cluster, job: str) -> dict[str, str]:
    """What `scontrol show job` says of it: JobState, Restarts, NodeList, ..."""
    words = cluster.run("scontrol", "--oneliner", "show", "job", job).split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def state(cluster: Cluster, job: str) -> str:
    """Such as RUNNING."""
    return fields(cluster, job)["JobState"]


def accounts(cluster: Cluster, job: str) -> list[str]:
    """How its attempts ended, from the accounts, the first one first."""
    words = ["--noheader", "--parsable2", "--allocations", "--duplicates", "--format=State", f"--jobs={job}"]
    return cluster.run("sacct", *words).split("\n")[:-1]


def until(there: Callable[[], Any], timeout_s: float = 60, show: Path | None = None) -> None:
    """Wait for something to come true; `show` is a file that tells why it did not.

    To look may cost a process, so that most of the time nothing looks.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        if there():
            return
        if time.monotonic() > deadline:
            told = show.read_text() if show is not None and show.exists() else ""
            raise AssertionError(f"it never came\n{told}")
        time.sleep(min(max(0.1, 3 * (time.monotonic() - began)), 0.5))


def lines(path: Path) -> list[str]:
    """Those of a file; none where it isn't there yet."""
    return path.read_text().splitlines() if path.exists() else []
