"""Notices: the user is told when a run is over, or won't go on by itself; by a command, mail, Slack or ntfy.

The first node's launcher tells it when all is written and the run's lock is free: whatever becomes of the
notice, nothing becomes of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dnw.runs import divergence
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt
from launch.node import exit_reason, retry_policy
from launch.node.notices import channels
from launch.node.notices.channels import Channels

# failed: by an error that isn't tried again. no progress: killed, hung or out of time without getting on.
# diverged: a value isn't finite; dnw/runs/divergence.py. not begun: a run that it waits for won't be done.
Event = Literal["done", "failed", "diverged", "no progress", "not begun"]
WAYS = "DNW_NOTIFY"  # a variable: the ways as JSON; no secret, but where one is
LIMIT_S = 60.0  # for the command


def event(last: Attempt, code: int, is_asked: bool) -> Event | None:
    """Return what to tell once no attempt follows; None of a run that was stopped or is started elsewhere.

    Args:
        last: the attempt that ended.
        code: how, as exit_reason.conclude has it.
        is_asked: whether it was asked to stop.
    """
    if code == exit_reason.DONE:
        return "done"
    if last.reason == "diverged":
        return "diverged"
    if last.cause == "error":
        return "failed"
    if last.cause == "timeout" and not retry_policy.progressed(last):
        return "no progress"
    return "no progress" if last.reason in retry_policy.OWN_FAULTS and not is_asked else None


def tell(
    run: Run, last: Attempt, event: Event, log: Path | None, command: str | None, by: Channels | None
) -> None:
    """Tell by all ways that the user has named. Nothing is raised.

    Args:
        run: the run.
        last: its last attempt.
        event: what there is to tell.
        log: of the command; None: the terminal.
        command: of the user's, if there is one.
        by: other ways, if there are any.
    """
    if command is not None:
        send(command, run, last, event, log)
    if by is not None:
        try:
            channels.send(by, run, told(run, last, event))
        except (OSError, ValueError) as error:  # a result that can't be read, no threads left
            print(f"{run.name}: not told: {error}; the run is as it was", file=sys.stderr, flush=True)


def handed_on(command: str | None, by: Channels | None) -> dict[str, str]:
    """Return the variable by which another process can `tell`; none where nobody is to be told.

    Args:
        command: of the user's, if there is one.
        by: other ways, if there are any.
    """
    if command is None and by is None:
        return {}
    ways = None if by is None else dataclasses.asdict(by)
    return {WAYS: json.dumps({"command": command, "by": ways})}


def tell_as_handed_on(run: Run, last: Attempt, event: Event) -> None:
    """Tell by the ways that the environment names, if it names any. Nothing is raised.

    Args:
        run: the run.
        last: its last attempt.
        event: what there is to tell.
    """
    ways = json.loads(os.environ.get(WAYS, "{}"))
    by = ways.get("by")
    if by is not None:
        by = Channels(**by | {"mail": tuple(by["mail"])})
    tell(run, last, event, run.log(last.number, 0), ways.get("command"), by)


def send(command: str, run: Run, last: Attempt, event: Event, log: Path | None) -> None:
    """Call the command in a shell: a JSON object on its standard input, DNW_RUN and DNW_EVENT beside it.

    Nothing is raised: a command that fails, can't be started, or lasts for more than LIMIT_S costs one line
    of warning, and no more than that.

    Args:
        command: for /bin/sh.
        run: the run.
        last: its last attempt.
        event: what there is to tell.
        log: what the command prints is appended to it; None: it goes to the terminal.
    """
    try:
        problem = _call(command, {"DNW_RUN": run.name, "DNW_EVENT": event}, told(run, last, event), log)
    except OSError as error:  # a full disk, no memory
        problem = str(error)
    if problem:
        where = f"; what it printed: {log}" if log is not None else ""
        said = f"{run.name}: notify.command: {problem}; the run is as it was{where}"
        print(said, file=sys.stderr, flush=True)


def _call(command: str, named: Mapping[str, str], facts: Mapping[str, Any], log: Path | None) -> str:
    """Call the command, and return what went wrong, or nothing."""
    with contextlib.ExitStack() as files:
        output = files.enter_context(log.open("ab")) if log is not None else None
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            env={**os.environ, **named},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that what it has started can be ended with it
        )
        try:
            process.communicate(json.dumps(facts).encode(), timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"ended after {LIMIT_S:g} s"
    return f"exit code {process.returncode}" if process.returncode else ""


def told(run: Run, last: Attempt, event: Event) -> dict[str, Any]:
    """Return what the command reads; what isn't known is None.

    Args:
        run: that it is about.
        last: its newest attempt.
        event: what has become of that.
    """
    end, claim = last.end or {}, last.claim or {}
    result = json.loads(run.result.read_text()) if event == "done" else {}
    return {
        "event": event,
        "run": run.name,
        "folder": str(run.folder),
        "job": last.job,
        "host": claim.get("host", socket.gethostname()),
        "attempt": last.number,
        "reason": last.cause,
        "detail": divergence.message(run, last) if event == "diverged" else end.get("detail"),
        "step": result.get("steps", last.last_step),
        "top1": result.get("top1"),
        "time": round(time.time(), 3),
    }
