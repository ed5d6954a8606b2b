"""Stopping runs: saved, if there is time for that, or at once."""

from __future__ import annotations

import re
import signal
import socket
import sys
import time
from collections.abc import Sequence

from dnw.runs import lock
from dnw.runs.folder import Run
from launch.cluster import local_processes
from launch.cluster.submission import controller
from launch.errors import LaunchError
from launch.query.run_status import RunStatus, query_status
from launch.scheduler import slurm_command
from launch.scheduler.slurm_command import SlurmError

POLL_S = 1.0  # between two looks at runs that are ending
NO_STEP = "invalid (job|step) id|already completing or completed|not running"  # as Slurm says of one


def cancel(runs: Sequence[Run], now: bool, wait: bool) -> int:
    """Have runs end, those that are at work.

    Args:
        runs: which.
        now: kill them; else they save first.
        wait: return when they have ended.

    Returns:
        0; 1 if one that was waited for could not save.

    Raises:
        LaunchError: one of them is at work where this process has no way to reach it.
    """
    statuses, notes = query_status(runs)
    for note in notes:
        print(note, file=sys.stderr)
    for one in statuses:
        if not one.may_be_at_work:
            print(f"{one.run.name}: not at work ({one.state}{f', {one.why}' if one.why else ''})")
    working = [one for one in statuses if one.may_be_at_work]
    asked_at = time.time()
    stop(working, now)
    for one in working:
        print(f"{one.run.name}: {_what_was_done(one, now)}", flush=True)
    return _Ending(working, asked_at, now).wait() if wait else 0


def stop(working: Sequence[RunStatus], now: bool = False) -> None:
    """Ask runs at work to save and end; with `now`, kill them.

    Raises:
        LaunchError: Slurm refuses, or a run is at work on another machine.
    """
    in_slurm = [one for one in working if _is_in_slurm(one)]
    here = [one for one in working if not _is_in_slurm(one)]
    elsewhere = [one for one in here if _host(one) not in {None, socket.gethostname()}]
    if elsewhere:
        raise LaunchError(
            "\n".join(
                f"{one.run.name}: at work on {_host(one)}; type this command there" for one in elsewhere
            )
        )
    for one in here:
        if now:
            local_processes.kill(_to_kill(one))
        else:
            local_processes.send(_to_ask(one), signal.SIGTERM)
    if in_slurm:
        _in_slurm(in_slurm, now)


def _in_slurm(working: Sequence[RunStatus], now: bool) -> None:
    """Cancel the jobs of runs; one that works on other runs, too, is asked to end these runs alone."""
    asked = {one.run for one in working}
    shared = {one.run: one.submission for one in working if _others(one) - asked and one.submission}
    for run, last in shared.items():
        if now:
            raise LaunchError(
                f"{run.name}: shares job {last.job} with others, which would be killed as well; leave --now "
                "out, or name all of them"
            )
        last.marks.cancel(run)
    if whole := [one for one in working if one.run not in shared]:
        _scancel(whole, now)


def _others(one: RunStatus) -> set[Run]:
    """Return the runs that the job of one works on, or is going to: itself among them, and none if alone."""
    return set(one.submission.sharing) if one.submission else set()


def _scancel(working: Sequence[RunStatus], now: bool) -> None:
    jobs = {one.submission.job: one for one in working if one.submission}
    steps = [f"{job}.0" for job, one in jobs.items() if one.state == "running"]
    refused = _kill_steps(steps) if now and steps else ""
    try:
        slurm_command.ask("scancel", *jobs)
    except SlurmError as error:
        raise LaunchError(str(error)) from None
    if refused:
        raise LaunchError(f"{refused}; asked to save and stop instead")


def _kill_steps(steps: Sequence[str]) -> str:
    """Kill what runs of jobs; return why Slurm refuses, empty where it doesn't or there is no such step.

    Of a job, even --signal=KILL begins with TERM; of its step, it kills. A job has no step yet while its
    script prepares, or waits for another run (launch/pipeline/gate.py), and none any more once it has ended.
    """
    try:
        slurm_command.ask("scancel", "--signal=KILL", *steps)
    except SlurmError as error:
        return "" if re.search(NO_STEP, str(error), re.IGNORECASE) else str(error)
    return ""


def _to_ask(one: RunStatus) -> list[int]:
    """Return the process here that passes on a request to stop: submitit's controller, else the job."""
    if controller := _controller(one):
        return controller
    record = lock.holder(one.run.lock) or {}
    return [process for process in local_processes.holders(one.run) if process == record.get("pid")]


def _to_kill(one: RunStatus) -> list[int]:
    """Return the processes of this machine with which a run dies: workers die with their agent."""
    return [*_controller(one), *local_processes.holders(one.run)]


def _controller(one: RunStatus) -> list[int]:
    found = controller(one.submission) if one.submission else None
    return [found] if found else []


def _is_in_slurm(one: RunStatus) -> bool:
    return one.submission is not None and one.submission.cluster == "slurm"


def _host(one: RunStatus) -> str | None:
    """Return the machine that a run of no cluster is at work on."""
    record = lock.holder(one.run.lock) or {}
    return record.get("host") or (one.submission.host if one.submission else None)


def _what_was_done(one: RunStatus, now: bool) -> str:
    if one.state == "queued":
        return "taken from the queue"
    return "killed" if now else "asked to save and stop"


class _Ending:
    """Runs on their way to an end, watched."""

    def __init__(self, working: Sequence[RunStatus], asked_at: float, now: bool) -> None:
        self._left = {one.run: one for one in working}
        self._asked_at, self._now = asked_at, now
        self._told: set[Run] = set()
        self._failed = False

    def wait(self) -> int:
        """Wait for all of them, and say what became of each; 1 if one could not save."""
        while self._left:
            statuses, _ = query_status(list(self._left))
            for one in statuses:
                self._tell_saved(one)
                if not one.may_be_at_work:
                    self._tell_gone(one)
                    del self._left[one.run]
            if self._left:
                time.sleep(POLL_S)
        return int(self._failed)

    def _tell_saved(self, one: RunStatus) -> None:
        end = one.current.end if one.current else None
        if one.run in self._told or end is None or end["reason"] != "stopped":
            return
        self._told.add(one.run)
        after = max(0.0, end["time"] - self._asked_at)
        print(f"{one.run.name}: saved after step {end.get('step', '?')}, within {after:.1f} s", flush=True)

    def _tell_gone(self, one: RunStatus) -> None:
        if one.state == "finished":
            print(f"{one.run.name}: finished before it was stopped", flush=True)
            return
        was_running = self._left[one.run].state == "running"
        if was_running and one.run not in self._told and not self._now:
            self._failed = True
            print(f"{one.run.name}: ended without saving ({one.why}); ", end="")
        else:
            print(f"{one.run.name}: ", end="")
        print("ended; run the submit command again to resume from its newest checkpoint", flush=True)
