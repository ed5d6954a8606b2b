"""Typing the commands that documents show."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from worker import ROOT, SERVER


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


def forked(
    command: str, *more: str, first: Callable[[], None] | None = None, timeout: float = 250
) -> subprocess.CompletedProcess[str]:
    """As `typed`, a command that imports torch: in a process forked from one that has imported it.

    Args:
        command: `python -m MODULE` or `python SCRIPT`, and more words.
        more: words as they are.
        first: called in that process before the command.
        timeout: seconds.
    """
    python, *words = [*shlex.split(command), *more]
    assert python == "python"
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = SERVER.Process(target=_python, args=(words, environment(), str(out), str(err), first))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
        done = subprocess.CompletedProcess(
            words, -1 if process.exitcode is None else process.exitcode, out.read_text(), err.read_text()
        )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


def _python(
    words: list[str], variables: dict[str, str], out: str, err: str, first: Callable[[], None] | None
) -> None:
    """Do what Python does with the words of its command line."""
    for path, descriptor in ((out, 1), (err, 2)):
        with Path(path).open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(ROOT)
    os.environ.update(variables)
    if first is not None:
        first()
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(ROOT))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str((ROOT / words[0]).parent))
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")


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
