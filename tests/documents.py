"""Typing the commands that documents show."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from worker import ROOT


def environment() -> dict[str, str]:
    """This process's own, with this environment's programs first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def typed(command: str, *more: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
    """Type a command in the project's folder; it has to end with 0."""
    words = [*shlex.split(command), *more]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


def dry_run(command: str, *more: str) -> str:
    """Type a command with dry_run=true, and return what it prints.

    It has to be accepted, or refused for nothing but that Slurm's programs find no Slurm on this machine: no
    controller answers, and none tells of GPUs.
    """
    words = [*shlex.split(command), *more, *([] if "dry_run=true" in command else ["dry_run=true"])]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=250, check=False
    )
    refused = [line for line in done.stdout.splitlines() if line.startswith("# REFUSED: ")]
    assert done.returncode == (2 if refused else 0), f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    for line in refused:
        assert line.startswith(
            (
                "# REFUSED: sbatch: no controller of Slurm answers here: ",
                "# REFUSED: scontrol: no controller of Slurm answers here: ",
                "# REFUSED: cluster.gpus_per_node: Slurm doesn't tell which GPUs the nodes have (sinfo: ",
            )
        )
    return done.stdout


def wait_for(found: Callable[[], object], seconds: float = 120) -> None:
    """Wait until `found()` is true."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
