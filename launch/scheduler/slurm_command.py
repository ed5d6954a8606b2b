"""Slurm's commands, run: what they print, or in one line why they don't work here."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from launch.scheduler import slurm_environment

PATIENCE_S = 20  # a controller that is down keeps its clients waiting
FORGOTTEN = "Invalid job id"  # what a Slurm that answers says of a job that it no longer knows
R = TypeVar("R")
NO_ANSWER = "no answer within"
TRIES = 3  # a signal for all processes of a job hits the command that it is running, too


# What commands say where no controller is reached; where UNSENT, none can have taken the order. A site's own
# words (job_submit, cli_filter) may speak of slurmctld, or have something resolved.
UNSENT = (
    "connect failure|connection refused|could not establish a configuration source|control machine address"
    "|(unable to|could not|couldn't|can't) resolve|resolve_ctls|getaddrinfo"
)
UNREACHED = f"{UNSENT}|contact slurm controller|communication (connection|shutdown)|connection timed out"


class SlurmError(RuntimeError):
    """A command of Slurm's that doesn't work here; the message is one line."""


class MissingError(SlurmError):
    """There is no such command here."""


class UnreachedError(SlurmError):
    """No controller of Slurm answers here."""


def run(
    words: Sequence[str], environment: Mapping[str, str], patience_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm's; what it prints may be no UTF-8. Raises what subprocess.run does.

    Args:
        words: command and arguments.
        environment: of the process.
        patience_s: after which it is killed.
    """
    return subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=patience_s,
    )


def ask(*words: str) -> str:
    """Return what a command prints; whoever asks Slurm, or orders, does it here (slurm_environment.py).

    Raises:
        SlurmError: there is no such command, it does not answer, or it refuses; with its own words.
        UnreachedError: no controller answers it.
    """
    environment = slurm_environment.for_queries(os.environ)
    for _ in range(TRIES):
        try:
            done = run(words, environment, PATIENCE_S)
        except (FileNotFoundError, PermissionError):  # which a folder in PATH raises
            raise MissingError(f"{words[0]}: not found here") from None
        except subprocess.TimeoutExpired:
            raise SlurmError(f"{words[0]}: {NO_ANSWER} {PATIENCE_S} s") from None
        if done.returncode >= 0:
            break
        time.sleep(0.2)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        kind = UnreachedError if is_unreached(done.stderr) else SlurmError
        raise kind(f"{words[0]}: {said[-1].removeprefix(f'{words[0]}: ')}")
    return done.stdout


def records(parse: Callable[[str], R], *words: str) -> list[R]:
    """Return what a command prints, a record a line.

    Raises:
        SlurmError: as `ask`, or it prints what is no record: that is no answer.
    """
    return [_record(parse, words[0], line) for line in ask(*words).splitlines()]


def _record(parse: Callable[[str], R], command: str, line: str) -> R:
    try:
        return parse(line)
    except ValueError:
        raise SlurmError(f"{command}: prints what can't be understood: {line.strip()!r}") from None


def is_unreached(said: str) -> bool:
    """Whether what a command of Slurm's said means that no controller answers."""
    return re.search(UNREACHED, said, re.IGNORECASE) is not None


def will_pass(said: str) -> bool:
    """Whether a message tells of a Slurm that doesn't answer now, and may later."""
    return is_unreached(said) or NO_ANSWER in said


def fields(line: str) -> dict[str, str]:
    """Return the words of one line of scontrol's, NAME=VALUE.

    Of a name that comes again the first one counts: users' own words (Comment, SubmitLine) come later.
    """
    return dict(reversed(re.findall(r"(\w+)=(\S*)", line)))


def job_record(text: str, job: str) -> dict[str, str] | None:
    """Return the words of a job's own line in what `scontrol --oneliner show job` prints; None without one.

    Args:
        text: one line a job; those of an array, where it was asked for as a whole.
        job: an id, or ARRAY_INDEX.
    """
    return next((one for one in map(fields, text.splitlines()) if _is_of(one, job)), None)


def _is_of(record: dict[str, str], job: str) -> bool:
    array, index = record.get("ArrayJobId"), record.get("ArrayTaskId")
    return job == (record.get("JobId") if array is None else f"{array}_{index}")
