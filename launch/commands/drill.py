"""A preemption drill: a run at work is stopped as preemption would, and watched until it goes on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from dnw import config
from dnw.config import parse_as
from dnw.console import PlainConsole
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt
from launch import start_lock
from launch.cluster.submission import Submission
from launch.commands.cancel import stop
from launch.commands.drill_report import DrillReport, Marks, deadlines, reasons_in_order
from launch.config import Cluster, Launch
from launch.errors import LaunchError
from launch.prepare import RunPlan
from launch.query.progress import progress
from launch.query.run_status import RunStatus, query_status
from launch.scheduler import slurm_command, stop_grace
from launch.scheduler.slurm_command import SlurmError
from launch.scheduler.stop_grace import Grants

POLL_S = 0.5  # which bounds how well Slurm's part is timed


class DrillError(RuntimeError):
    """A drill after which the run does not go on; the message says how far it came."""


def show(run: Run, as_json: bool) -> int:
    """Preempt a run at work on purpose, and print what it cost.

    Returns:
        the exit code: 0 if the run went on where it had stopped, 1 if steps were lost or it did not go on.

    Raises:
        LaunchError: this run can't be preempted as it is.
    """
    try:
        report = drill(run, _say)
    except DrillError as error:
        print(error, file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(report.plain(), indent=1))
    else:
        console = PlainConsole(soft_wrap=True)
        console.print(report.table())
        console.print(*report.summary(), sep="\n")
    return 0 if report.steps_lost == 0 else 1


def drill(run: Run, say: Callable[[str], None]) -> DrillReport:
    """Preempt a run on purpose; `say` is told what is going on.

    Raises:
        LaunchError: the run is not at work, or nothing could start it again.
        DrillError: it did not go on.
    """
    ((before,), notes) = query_status([run])
    for note in notes:
        say(note)
    last, attempt = _check(before)
    grants = _grants(before, say)
    watch = _Watch(run, attempt.number)
    before = watch.until_a_step(say)
    if last.cluster == "slurm":
        say(f"{run.name}: having Slurm requeue job {last.job}")
        marks = _requeued(watch, last, say)
    else:
        say(f"{run.name}: stopping process {last.job}, to submit it again")
        marks = _submitted_again(watch, before, last, say)
    second = watch.second(say)
    first = watch.first()
    reached = first.last_step if first.last_step is not None else watch.reached
    saved = first.end["time"] if first.end is not None and first.reason == "stopped" else None
    bounds = deadlines(grants, last.settings.get("grace_s"))
    return DrillReport(run.name, last.job, first, second, saved, reached, marks, bounds)


class _Watch:
    """A run from one attempt to the next."""

    def __init__(self, run: Run, attempt: int) -> None:
        self.run, self.stopped = run, attempt
        self.reached = 0  # steps done, as far as was seen

    def look(self) -> RunStatus:
        """How it stands now."""
        ((status,), _) = query_status([self.run])
        if status.is_finished:
            raise DrillError(f"{self.run.name}: finished before it was stopped")
        if self.attempt(status, self.stopped + 1) is None:
            self.reached = max(self.reached, progress(self.run, status.attempts).step)
        return status

    def pause(self) -> None:
        """Let things happen."""
        time.sleep(POLL_S)

    def attempt(self, status: RunStatus, number: int) -> Attempt | None:
        """Return an attempt, if it has begun."""
        return next((one for one in status.attempts if one.number == number), None)

    def until_a_step(self, say: Callable[[str], None]) -> RunStatus:
        """Wait until the attempt to be stopped has done a step, so that there is something to lose."""
        told = False
        while True:
            status = self.look()
            found = self.attempt(status, self.stopped)
            if not status.is_at_work or found is None or found.end is not None:
                raise DrillError(f"{self.run.name}: attempt {self.stopped} ended by itself: {status.why}")
            if found.step is not None:
                return status
            if not told:
                say(f"{self.run.name}: waiting for its first step")
                told = True
            self.pause()

    def first(self) -> Attempt:
        """Return the attempt that was stopped, as it ended."""
        return self.attempt(self.look(), self.stopped) or Attempt(self.stopped)

    def second(self, say: Callable[[str], None]) -> Attempt:
        """Return the attempt after it, once it has done a step.

        Raises:
            DrillError: it ended before, or there comes none.
        """
        told = False
        while True:
            status = self.look()
            found = self.attempt(status, self.stopped + 1)
            if found is not None and found.step is not None:
                return found
            if found is not None and found.end is not None:
                raise DrillError(f"{self.run.name}: attempt {found.number} ended too: {status.why}")
            if not status.may_be_at_work:
                raise DrillError(f"{self.run.name}: does not go on: {status.state}, {status.why}")
            if found is not None and not told:
                say(f"attempt {found.number} has the run")
                told = True
            self.pause()


def _requeued(watch: _Watch, last: Submission, say: Callable[[str], None]) -> Marks:
    if last.pack:
        say(f"job {last.job} is shared by {len(last.sharing)} runs, all of which are preempted")
    asked = time.time()
    try:
        slurm_command.ask("scontrol", "requeue", last.job)
    except SlurmError as error:
        raise LaunchError(f"{error}; a job that may not be requeued can't be drilled") from None
    gone = granted = None
    reasons: list[str] = []
    while granted is None and (status := watch.look()).may_be_at_work:
        job, now = status.job, time.time()
        if watch.attempt(status, watch.stopped + 1) is not None:
            break  # sooner than it could be seen
        if job is not None and not job.is_running:
            reasons.append(job.reason)
            if gone is None:
                say(f"job {job.id} is in the queue again")
                gone = now
        elif gone is not None and job is not None:
            say(f"job {job.id} has nodes again: {job.nodes}")
            granted = now
        watch.pause()
    return Marks(asked, gone, granted, reasons_in_order(reasons))


def _submitted_again(watch: _Watch, before: RunStatus, last: Submission, say: Callable[[str], None]) -> Marks:
    from launch.cluster.submit import submit  # noqa: PLC0415  (slow to import)

    asked = time.time()
    stop([before])
    while watch.look().is_at_work:
        watch.pause()
    gone = time.time()
    say("it has gone; submitting it again")
    with start_lock.held([before.run]):
        if not watch.look().is_at_work:  # nobody has typed its submit command meanwhile
            submit([plan_again(before.run, last)])
    return Marks(asked, gone, granted=gone)


def plan_again(run: Run, last: Submission) -> RunPlan:
    """Return the plan by which a run was submitted last, from its folder."""
    cluster = parse_as(Cluster, {"name": last.cluster, **last.settings})
    values: dict[str, Any] = {"nodes": last.nodes, "nproc": last.nproc, "runs_dir": run.folder.parent.parent}
    launch = Launch(**values, fresh=False, dry_run=False, port=None, cluster=cluster)
    return RunPlan(run, config.load(run.config), launch, words=tuple(last.words))


def _check(before: RunStatus) -> tuple[Submission, Attempt]:
    """Refuse a run that no drill is possible on."""
    name, last, attempt = before.run.name, before.submission, before.current
    if before.state != "running":
        raise LaunchError(f"{name}: not running but {before.state}; a drill needs a run at work")
    if last is None or last.cluster not in {"slurm", "local"}:
        raise LaunchError(f"{name}: runs in the foreground; Ctrl-C there, then type the same again")
    if attempt is None or attempt.end is not None:
        raise LaunchError(f"{name}: between two attempts; try again when the next one is at work")
    return last, attempt


def _grants(before: RunStatus, say: Callable[[str], None]) -> Grants | None:
    if before.job is None:
        return None
    settings = before.submission.settings if before.submission else {}
    try:
        return stop_grace.grants(before.job.partition, settings.get("qos"))
    except SlurmError as error:
        say(f"{error}; how long saving may take is not known")
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
