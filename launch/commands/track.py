"""Runs sent to trackers from here: what happened offline, any number of times, nothing twice."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dnw import config
from dnw.runs.folder import Run
from dnw.tracking.follow import Sender
from launch.errors import LaunchError
from launch.node.tracking import check_installed, followed
from shards.errors import ExpectedError


def send(runs: Sequence[Run], to: Sequence[str]) -> int:
    """Send runs to trackers, one after the other.

    Args:
        runs: to send.
        to: names of trackers; (): those that each run names.

    Returns:
        0 if all was sent; 1 if not, which is told in a line for each.

    Raises:
        LaunchError: a tracker isn't installed, or a run names none and none was typed.
    """
    chosen = {run.folder: list(dict.fromkeys(to)) or followed(config.load(run.config)) for run in runs}
    for run in runs:
        if not chosen[run.folder]:
            raise LaunchError(
                f"{run.name}: its track= names no tracker to send it to: --to mlflow, or --to wandb"
            )
    check_installed(list(dict.fromkeys(name for names in chosen.values() for name in names)))
    failed = False
    for run in runs:
        for name in chosen[run.folder]:
            try:
                problem = _send(run, name)
            except (ExpectedError, OSError) as error:
                problem = str(error)
            if problem:
                failed = True
                print(f"{run.name}: {problem}", file=sys.stderr, flush=True)
    return int(failed)


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
