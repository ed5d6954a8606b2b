"""Several runs in one job of one node: the process around them, which starts one for each and waits for all.

Each run has a process of its own (launch/pack/child.py), in a session of its own, with its own frozen code;
in there the same Job as for a run alone takes the run's lock, numbers its attempts, and has the last word on
why each ended. Only what is of the whole job is decided here: a request to stop goes to all of them, and once
all have ended Slurm is asked, once, to start the job again, if any of them wants to go on. Those that are
over by then, or were cancelled alone, are marked (launch/pack/marks.py), and not started again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dnw.preemption import STOPPED, signal_name
from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from launch.errors import LaunchError
from launch.node import requeue, unfit
from launch.node.exit_reason import DONE, FAILED
from launch.node.follow_up import SUBMISSION
from launch.node.job import HELD, Job
from launch.node.signals import SIGNALS, StopRequests
from launch.node.timeouts import LOOK_S, POLL_S
from launch.node.topology import Node, this_node
from launch.pack.child import PARENT
from launch.pack.marks import UNREAD_S, Marks, patiently

CHILD = "launch.pack.child"
OVER = frozenset({DONE, DIVERGED, HELD})  # exit codes of a run on which there is nothing left to do here
FINAL = frozenset({"timeout", "signalled"})  # causes after which a run that isn't started again is over


@dataclass
class Child:
    """One run, and the process that works on it."""

    job: Job
    process: subprocess.Popen[bytes]
    before: int  # attempts that the run had
    is_cancelled: bool = False  # alone
    is_asked: bool = False  # to stop
    is_settled: bool = False  # its end has been looked at

    @classmethod
    def start(cls, job: Job) -> Child:
        """Start it, with what the job would import if it were alone."""
        run = Run(job.folder)
        around = os.environ.get("PYTHONPATH", "").split(os.pathsep)[1:]  # without the pack's own code
        path = os.pathsep.join([str(run.code), *around])
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited, until it listens
        try:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", CHILD],
                stdin=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path, PARENT: str(os.getpid())},
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # its code is damaged, say
            pickle.dump(job, pipe)
        return cls(job, process, ledger.next_attempt(run) - 1)

    @property
    def run(self) -> Run:
        """What it works on."""
        return Run(self.job.folder)

    @property
    def has_begun(self) -> bool:
        """Whether there has been an attempt in it."""
        return ledger.next_attempt(self.run) - 1 > self.before


@dataclass(frozen=True)
class Pack:
    """Work on several runs on one node; `Pack(...)()` is what submitit calls."""

    jobs: tuple[Job, ...]  # which ask Slurm for nothing themselves
    is_requeued: bool = True

    def __call__(self) -> None:
        """Work on all runs until each is done or has to stop.

        Raises:
            SystemExit: always, as Job does.
        """
        stop = StopRequests(impatient=False)
        stop.listen()
        try:
            marks = Marks(Path(os.environ[SUBMISSION]))
            sys.exit(Work(self.jobs, self.is_requeued, marks, this_node(1), stop).run())
        except LaunchError as error:
            sys.exit(str(error))


@dataclass
class Work:
    """What one start of the job does."""

    jobs: Sequence[Job]
    is_requeued: bool
    marks: Marks
    node: Node
    stop: StopRequests
    children: list[Child] = field(default_factory=list)
    unread_since: float | None = None  # the folder of the marks

    def run(self) -> int:
        """Work on the runs that aren't marked: 0 all done, 75 stopped, or started again, else as a Job."""
        try:
            left = patiently(self.marks.unmarked, [Run(job.folder) for job in self.jobs])
            for job in self.jobs:
                if Run(job.folder) in left:
                    self.children.append(Child.start(job))
            self._watch()
        finally:  # a folder that can't be read, say: all runs save, and none is left behind
            for child in self.children:
                if not child.is_asked:
                    child.process.terminate()
            for child in self.children:
                child.process.wait()
        if self.is_requeued and self._is_started_again():
            return STOPPED
        codes = {child.process.returncode for child in self.children if not child.is_cancelled} - {DONE}
        return FAILED if codes - {STOPPED, DIVERGED} else max(codes, default=DONE)

    def _watch(self) -> None:
        """Wait until all have ended; pass on requests to stop, and mark those that are over."""
        looks_at = time.monotonic()
        while not all(child.is_settled for child in self.children):
            if self.stop.signal is None:
                self.stop.pause(POLL_S)
            else:
                time.sleep(POLL_S)
            if time.monotonic() >= looks_at or self.stop.signal is not None:
                looks_at = time.monotonic() + LOOK_S
                self._pass_on()
            for child in self.children:
                if not child.is_settled and child.process.poll() is not None:
                    child.is_settled = True
                    self._settle(child)

    def _pass_on(self) -> None:
        """Signal those that shall stop, once."""
        cancelled = self._cancelled()
        for child in self.children:
            child.is_cancelled = child.is_cancelled or child.run in cancelled
            number = self.stop.signal or (signal.SIGTERM if child.is_cancelled else None)
            if number is not None and not child.is_asked:
                child.process.send_signal(number)
                child.is_asked = True

    def _cancelled(self) -> set[Run]:
        """Return the runs that were cancelled; none while the folder can't be read, which may pass.

        Raises:
            OSError: it has not been readable for UNREAD_S.
        """
        try:
            found = self.marks.cancelled(child.run for child in self.children)
        except OSError as error:
            if self.unread_since is None:
                self.unread_since = time.monotonic()
                print(f"{error}; looking again", file=sys.stderr, flush=True)
            if time.monotonic() - self.unread_since >= UNREAD_S:
                raise
            return set()
        self.unread_since = None
        return found

    def _settle(self, child: Child) -> None:
        """Mark a run that is over now that its process has ended, whatever the others do."""
        run, code = child.run, child.process.returncode
        last = ledger.last(run) if child.has_begun else None
        if last is None and code not in {*OVER, STOPPED} and not child.is_cancelled:
            how = f"exit code {code}" if code >= 0 else signal_name(-code)
            why = f"its process ended before an attempt began: {how}; {self.marks.folder} has what it printed"
            unfit.leave_word(run, self.node, why)
        if child.is_cancelled and last is not None and last.reason == "stopped":
            ledger.end(run, last.number, "stopped", by="launcher", cause="cancelled")
        if code in OVER or child.is_cancelled or not self._was_stopped(child):
            patiently(self.marks.end, run)

    def _was_stopped(self, child: Child) -> bool:
        """Whether a process ended since the job, or this process of it, was asked to stop."""
        code = child.process.returncode
        return self.stop.signal is not None or code == STOPPED or -code in SIGNALS

    def _is_started_again(self) -> bool:
        """Have Slurm start the job again, if one of its runs wants to go on; whether one does."""
        asked, whys, going = self.stop.signal or signal.SIGTERM, list[str](), list[Run]()
        left = patiently(self.marks.unmarked, [child.run for child in self.children])
        for child in self.children:
            run = child.run
            if run not in left:
                continue
            last = ledger.last(run) if child.has_begun else None
            why = None if last is None else requeue.reason(run, self.node, asked)
            if why is None and last is not None and last.cause in FINAL:
                patiently(self.marks.end, run)
                continue
            going.append(run)
            whys += [why] if why else []
        if whys:
            requeue.again(going[0], self.node, "; ".join(dict.fromkeys(whys)), going[1:])
        return bool(whys)
