"""Sweeps, handed to the project's own launcher until all of their runs have ended, and how far they are."""

from __future__ import annotations

import datetime
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.study.declared import Sweep
from bench.study.runs import Trained, left_s
from dnw.runs.divergence import DIVERGED
from launch.errors import LaunchError
from launch.query.run_status import query_status

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 2.0


class Progress:
    """One line on a terminal, which is written over; elsewhere one for each run that ends."""

    def __init__(
        self, runs: Sequence[Trained], to_come: int = 0, steps: Mapping[str, int] | None = None
    ) -> None:
        """Show `runs`, and `to_come` more that aren't declared yet, of so many `steps` by network."""
        self._runs = runs
        self._to_come = to_come
        self._steps = steps or {}
        self._ended = -1

    def show(self) -> None:
        ended = [one.has_ended() for one in self._runs]
        if not sys.stderr.isatty() and sum(ended) == self._ended:
            return
        self._ended = sum(ended)
        line = f"{self._ended} of {len(ended) + self._to_come} runs"
        at_work = [one for one, is_over in zip(self._runs, ended, strict=True) if not is_over]
        begun = [one for one in at_work if one.run.metrics.exists()]
        if begun:
            one = max(begun, key=lambda one: one.run.metrics.stat().st_mtime)
            line += f"; {one.title}: step {one.progress()[0]} of {one.steps}"
        if at_work and (left := left_s(self._runs, self._steps)) is not None:
            line += f"; about {datetime.timedelta(seconds=round(left))} left"
        over, end = ("\r\x1b[2K", "") if sys.stderr.isatty() else ("", "\n")
        print(f"{over}{line}", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)


def train(sweep: Sweep, runs: Sequence[Trained], settings: Sequence[str], log: Path, told: Progress) -> None:
    """Train what is left of a sweep, here and one run after the other.

    Ctrl-C, or TERM, stops the run that is at work, which saves; typed again the sweep goes on there.

    Args:
        sweep: the line that stands for the runs.
        runs: these.
        settings: of all runs.
        log: what the launcher prints is added to it.
        told: shows how far all sweeps are.

    Raises:
        LaunchError: a run has failed.
    """
    words = line(sweep, settings, slurm=False)
    while not all(one.has_ended() for one in runs):
        with log.open("a") as out:
            out.write(f"$ {shlex.join(words)}\n")
            out.flush()
            code = _followed(words, out.fileno(), told)
        # a launcher that a killed study has left may still train one of them, which was passed over then
        was_passed_over = False
        while any(one.is_at_work for one in query_status([one.run for one in runs])[0]):
            was_passed_over = True
            told.show()
            time.sleep(POLL_S)
        has_left_some = not (was_passed_over or all(one.has_ended() for one in runs))
        if code not in {0, DIVERGED} or has_left_some:
            raise LaunchError(f"a run has failed (exit code {code}): the last lines of {log} say why")


def line(sweep: Sweep, settings: Sequence[str], slurm: bool) -> list[str]:
    """Return the command that makes all runs of a sweep, or goes on with them."""
    script = os.path.relpath(ROOT / "launch" / ("slurm.py" if slurm else "local.py"))
    return ["python", script, "-m", *sweep.words, *settings]


def _executable(words: Sequence[str]) -> list[str]:
    return [sys.executable, *words[1:]]


def _followed(words: Sequence[str], out: int, told: Progress) -> int:
    """Run the launcher to its end. It is never left behind, whatever ends this process but KILL."""
    process = subprocess.Popen(_executable(words), stdout=out, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None:
            told.show()
            time.sleep(POLL_S)
        return process.returncode
    except SystemExit:
        process.terminate()
        raise
    finally:  # Ctrl-C has reached it, too
        process.wait()


def submit(sweep: Sweep, runs: Sequence[Trained], settings: Sequence[str]) -> None:
    """Submit what is left of a sweep to Slurm, as one job array, and return at once.

    Raises:
        LaunchError: Slurm, or the check before, refuses it.
    """
    if all(one.has_ended() for one in runs):
        return
    words = line(sweep, settings, slurm=True)
    print(f"$ {shlex.join(words)}", flush=True)
    code = subprocess.run(_executable(words), check=False).returncode
    if code not in {0, DIVERGED}:
        raise LaunchError(f"not submitted (exit code {code}): see above")
