"""Runs sent to trackers from here: what happened offline, any number of times, nothing twice."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dnw import config
from dnw.runs.folder import Run
from dnw.tracking.follow import Sender
from launch.errors import LaunchError
from launch.node.tracking import check_installed, followed, log
from launch.query.run_status import query_status
from shards.errors import ExpectedError


def send(runs: Sequence[Run], to: Sequence[str]) -> int:
    """Send runs to trackers, one after the other.

    Args:
        runs: to send.
        to: names of trackers; (): those that each run names.

    Returns:
        0 if all was sent but what the runs' own processes send now; else 1, with a line for each.

    Raises:
        LaunchError: a tracker isn't installed, or a run names none and none was typed.
    """
    own, failed = {}, False
    for run in runs:
        try:
            own[run] = followed(config.load(run.config))
        except config.ConfigError as error:
            failed = True
            print(f"{run.name}: {error}", file=sys.stderr, flush=True)
    chosen = {run: list(dict.fromkeys(to)) or names for run, names in own.items()}
    for run, names in chosen.items():
        if not names:
            raise LaunchError(
                f"{run.name}: its track= names no tracker to send it to: --to mlflow, or --to wandb"
            )
    check_installed(list(dict.fromkeys(name for names in chosen.values() for name in names)))
    at_work = _at_work([run for run, names in own.items() if set(names) & set(chosen[run])])
    for run, names in chosen.items():
        for name in names:
            if run in at_work and name in own[run]:
                print(
                    f"{run.name}: {name}: left out: the run is at work, and its own process sends it there "
                    f"({log(run, name)})",
                    file=sys.stderr,
                    flush=True,
                )
            else:
                failed |= not _is_sent(run, name)
    return int(failed)


def _at_work(runs: Sequence[Run]) -> set[Run]:
    """Return those at work. The lock of their own processes isn't enough: some file systems have none."""
    if not runs:
        return set()
    found, notes = query_status(runs)
    for note in notes:
        print(note, file=sys.stderr)
    return {one.run for one in found if one.state == "running"}


def _is_sent(run: Run, name: str) -> bool:
    """Send a run to a tracker; whether all of it was, which is told if not."""
    try:
        problem = _send(run, name)
    except (ExpectedError, OSError) as error:
        problem = str(error)
    if problem:
        print(f"{run.name}: {problem}", file=sys.stderr, flush=True)
    return not problem


def _send(run: Run, name: str) -> str:
    """Send a run to a tracker, and print what was; which files could not be sent, and why."""
    sender = Sender(run, name)
    try:
        count = sender.send()
        address, unsent = sender.tracker.address, sender.tracker.unsent
        sender.end()
    except BaseException:
        sender.drop()
        raise
    print(f"{run.name}: rows sent to {name}: {count}; {address}", flush=True)
    return unsent
