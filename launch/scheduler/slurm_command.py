"""Slurm's commands, run: what they print, or in one line why they don't work here."""

from __future__ import annotations

import os
import re
import subprocess
import time

PATIENCE_S = 20  # a controller that is down keeps its clients waiting
TRIES = 3  # a signal for all processes of a job hits the command that it is running, too


class SlurmError(RuntimeError):
    """A command of Slurm's that doesn't work here; the message is one line."""


def ask(*words: str) -> str:
    """Return what a command prints; times are in seconds since 1970, without time zones or gaps in October.

    Raises:
        SlurmError: there is no such command, it does not answer, or it refuses; with its own words.
    """
    environment = {**os.environ, "SLURM_TIME_FORMAT": "%s"}
    for _ in range(TRIES):
        try:
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
            )
        except FileNotFoundError:
            raise SlurmError(f"{words[0]}: not found here") from None
        except subprocess.TimeoutExpired:
            raise SlurmError(f"{words[0]}: no answer within {PATIENCE_S} s") from None
        if done.returncode >= 0:
            break
        time.sleep(0.2)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SlurmError(f"{words[0]}: {said[-1].removeprefix(f'{words[0]}: ')}")
    return done.stdout


def fields(line: str) -> dict[str, str]:
    """Return the words of one line of scontrol's, NAME=VALUE."""
    return dict(re.findall(r"(\w+)=(\S*)", line))
