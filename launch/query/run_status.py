"""The states of runs, from their files and from the cluster, which is asked for all of them at once."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from dnw.runs import ledger, lock
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt
from launch.cluster import slurm_queue
from launch.cluster.slurm_queue import EndedJob, QueuedJob
from launch.cluster.submission import Submission, controller, newest
from launch.errors import LaunchError
from launch.node import unfit
from launch.pack.marks import Mark
from launch.query.progress import unreadable
from launch.query.remembered import Remembered
from launch.query.result import read_result
from launch.scheduler import handover
from launch.scheduler.slurm_command import SlurmError
from launch.scheduler.slurm_states import UNKNOWN, slurm_state
from shards import command

State = Literal["finished", "running", "queued", "stopped", "failed", "diverged", "ready", "unreadable"]
T = TypeVar("T")
AT_WORK = frozenset({"running", "queued"})
DAMAGED = (AttributeError, KeyError, IndexError, TypeError, ValueError)  # what odd records raise
READERS = 16  # threads that read files of runs
UNASKED = "squeue: not asked yet"
SKEW_S = 1.0  # between the clocks of a login node and a compute node


@dataclass(frozen=True)
class RunStatus:
    """One run, seen from a login node."""

    run: Run
    attempts: tuple[Attempt, ...]
    submission: Submission | None
    result: dict[str, Any] | None  # what came out, if it is done
    is_held: bool  # an attempt holds the run's lock, as far as this machine can see
    has_controller: bool  # submitit's local controller is alive
    job: QueuedJob | None = None  # waiting or running under Slurm
    account: EndedJob | None = None  # ended under Slurm, and the ledger doesn't say why
    is_out_of_sight: bool = False  # Slurm doesn't answer, or it is on another machine
    problems: tuple[str, ...] = ()  # files that are damaged, or another version's
    mark: Mark = ""  # the job, which other runs share, doesn't work on this one any more

    @property
    def is_finished(self) -> bool:
        """Whether the run is done."""
        return self.result is not None

    @property
    def state(self) -> State:
        """What the run is doing."""
        if self.is_finished:
            return "finished"
        if self.job is not None:
            return "running" if self.job.is_running else "queued"
        if self.is_held:
            return "running"
        if self.has_controller:
            return "queued"
        if self.is_out_of_sight and (self.current is None or self.current.end is None):
            return "running" if self.current else "queued"  # as far as its files tell
        return "unreadable" if self.problems else self._rest()

    @property
    def is_at_work(self) -> bool:
        """Whether there is anything to wait for, or to stop."""
        return self.state in AT_WORK

    @property
    def is_surely_at_work(self) -> bool:
        """Whether someone works on it, or is going to; not where that is only guessed from its files."""
        return self.is_at_work and not (self.is_out_of_sight and not self.is_held)

    @property
    def is_unknown(self) -> bool:
        """Whether a job may be queued or at work that nobody can see, since Slurm doesn't answer."""
        in_slurm = self.submission is not None and self.submission.cluster == "slurm"
        return in_slurm and self.is_out_of_sight and not self.is_finished and not self.is_held

    @property
    def may_be_at_work(self) -> bool:
        """Whether it is at work, or nobody knows that it isn't."""
        return self.is_at_work or self.is_unknown

    @property
    def who(self) -> str:
        """Who works on it, or will, for people; empty if nobody does."""
        if self.is_held:
            return lock.describe(lock.holder(self.run.lock) or {})
        if self.submission is None or not self.is_at_work:
            return ""
        return f"job {self.submission.job} on {self.submission.cluster}"

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The names of the runs that have to be done before a queued one begins, and aren't."""
        if self.state != "queued" or self.submission is None:
            return ()
        if self.job is not None and not self.job.reason.startswith("Dependency"):
            return ()
        before = [Run(Path(folder)) for folder in self.submission.after]
        return tuple(run.name for run in before if not run.result.exists())

    @property
    def current(self) -> Attempt | None:
        """The newest attempt of the newest submission."""
        if not self.attempts or self.submission is None:
            return self.attempts[-1] if self.attempts else None
        last = self.attempts[-1]
        if self.submission.attempts is not None:
            return last if last.number > self.submission.attempts else None
        began = began_at(last)
        return last if began is None or began >= self.submission.time - SKEW_S else None

    @property
    def why(self) -> str:
        """Why the last attempt that ended did so, for people; empty if none has ended."""
        told = self._told
        is_off = self.submission is not None and not self.submission.settings.get("requeue", True)
        return f"{told}; cluster.requeue=false" if is_off and self.state in {"stopped", "failed"} else told

    @property
    def _told(self) -> str:
        if self.state in {"stopped", "failed"}:
            if self._has_begun_nothing:
                why = unfit.last_words(self.run) or self._why_by_accounts()
                return why or "the job ended before an attempt started"
            if self.attempts[-1].end is None:
                return self._why_by_accounts() or "no word of its end"
        ended = [attempt for attempt in self.attempts if attempt.end is not None]
        return _reason(ended[-1], self._why_by_accounts()) if ended else ""

    @property
    def since(self) -> float | None:
        """When it came to be in this state, in seconds since 1970."""
        last = self.attempts[-1] if self.attempts else None
        ended = last.end["time"] if last is not None and last.end is not None else None
        submitted = self.submission.time if self.submission else None
        if self.account is not None and (self.current is None or ended is None):
            return self.account.ended or submitted
        if self.state == "finished":
            return ended or self.run.result.stat().st_mtime
        if self.state == "running" and self.current is not None and self.current.end is None:
            return began_at(self.current)
        if self.current is None:
            return submitted or ended
        return ended or submitted

    def _rest(self) -> State:
        """Of a run that nobody works on."""
        last = self.attempts[-1] if self.attempts else None
        if self._has_begun_nothing:
            is_cancelled = self.mark == "cancelled" or (
                self.account is not None and self.account.state == "CANCELLED"
            )
            return "stopped" if is_cancelled else "failed"
        if last is None:
            return "ready"
        if last.reason == "diverged":
            return "diverged"
        return "stopped" if last.reason == "stopped" else "failed"

    @property
    def _has_begun_nothing(self) -> bool:
        """Whether there is no attempt of the newest submission."""
        return self.submission is not None and self.current is None

    def _why_by_accounts(self) -> str:
        if self.account is None:
            return self.mark if self.mark == "cancelled" else ""
        known = slurm_state(self.account.state)
        if known.said or (known is not UNKNOWN and self.account.state != "FAILED"):
            return known.said
        code, _, number = self.account.exit_code.partition(":")
        how = f"signal {number}" if number not in {"", "0"} else f"exit code {code}"
        return f"{self.account.state.lower()}, {how}"


def query_status(
    runs: Sequence[Run], known: Remembered | None = None, asks_slurm: bool = True
) -> tuple[list[RunStatus], list[str]]:
    """How runs stand, and notes on what could not be found out.

    However many runs: one call of squeue, and one of sacct if jobs ended without the ledger saying why; none
    if no run went to Slurm.

    Args:
        runs: any.
        known: what their files held before, so that those alone are read that have changed.
        asks_slurm: whether to; if not, all that Slurm would tell is guessed from the files.
    """
    memory = Remembered() if known is None else known
    with ThreadPoolExecutor(READERS) as readers:  # a file server takes its time for each
        on_disk = list(readers.map(partial(_on_disk, known=memory), runs))
    if not asks_slurm:
        some = any(map(_is_open_in_slurm, on_disk))
        guessed = [_queued(one, UNASKED, slurm_queue.Answer()) for one in on_disk]
        return guessed, _notes(UNASKED if some else "", "")
    found, nameless = _identified(on_disk)
    in_slurm = [one.submission for one in found if _is_open_in_slurm(one) and one.submission]
    queue = slurm_queue.queued([one for one in in_slurm if one.is_known])
    found = [_queued(one, queue.problem or nameless, queue) for one in found]
    unexplained = [one.submission for one in found if _is_unexplained(one) and one.submission]
    accounts = slurm_queue.ended(unexplained)
    found = [_accounted(one, accounts) for one in found]
    problems = [f"{one.run.name}: {problem}" for one in found for problem in one.problems]
    return found, [*_notes(queue.problem or nameless, accounts.problem), *_notes_on_others(found), *problems]


def began_at(attempt: Attempt) -> float | None:
    """When an attempt began, in seconds since 1970."""
    first = attempt.claim or attempt.start or attempt.end
    return first["time"] if first else None


def damaged(error: Exception) -> str:
    """Return what to say of a record that has not the form it should have."""
    return f"a record is damaged, or another version's ({type(error).__name__}: {error})"


def _on_disk(run: Run, known: Remembered) -> RunStatus:
    """Return what files tell; of records without the form that they should have, nothing but that."""
    try:
        one = _as_written(run, known)
        _ = one.state, one.why, one.since, one.is_unknown
    except DAMAGED as error:
        problem = damaged(error)
    except OSError as error:  # the folder is another user's
        problem = command.explain(error) or str(error)
    else:
        return one
    return RunStatus(run, (), None, None, False, False, problems=(problem,))


def _as_written(run: Run, known: Remembered) -> RunStatus:
    problems: list[str] = []

    def remembered(path: Path, read: Callable[[Run], T]) -> T | None:
        return _unless_damaged(lambda run: known.of("file", (path,), lambda: read(run)), run, problems)

    last, result = remembered(run.launch, newest), remembered(run.result, read_result)
    finished = result is not None
    if not finished and (problem := unreadable(run.config)):
        problems.append(problem)
    attempts = remembered(run.attempts, ledger.read) or []
    is_held = (not finished and _unless_damaged(_is_held, run, problems)) or False
    is_shared = last is not None and last.pack and not is_held
    return RunStatus(
        run=run,
        attempts=tuple(attempts),
        submission=last,
        result=result,
        is_held=is_held,
        has_controller=not finished and last is not None and controller(last) is not None,
        is_out_of_sight=last is not None and last.cluster != "slurm" and last.host != socket.gethostname(),
        problems=tuple(problems),
        mark=last.marks.of(run) if last is not None and is_shared else "",
    )


def _unless_damaged(read: Callable[[Run], T | None], run: Run, problems: list[str]) -> T | None:
    """Return what a file of the run says; None if it is damaged, which is then one of the problems."""
    try:
        return read(run)
    except (LaunchError, OSError) as error:
        problems.append(command.explain(error) or str(error))
        return None


def _is_held(run: Run) -> bool:
    return lock.holder(run.lock) is not None


def _is_open_in_slurm(one: RunStatus) -> bool:
    in_slurm = one.submission is not None and one.submission.cluster == "slurm"
    return in_slurm and not one.is_finished and not one.mark


def _identified(found: Sequence[RunStatus]) -> tuple[list[RunStatus], str]:
    """Return them with the jobs that Slurm has made of submissions of which it had not said so.

    Beside them why Slurm doesn't say so now. A submission of which it made none was none.
    """
    folders = {
        Path(one.submission.folder)
        for one in found
        if one.submission is not None and _is_open_in_slurm(one) and not one.submission.is_known
    }
    if not folders:
        return list(found), ""
    try:
        owners = handover.owners(folders)
    except SlurmError as error:
        return list(found), str(error)
    return [_with_owner(one, owners) for one in found], ""


def _with_owner(one: RunStatus, owners: Mapping[Path, str]) -> RunStatus:
    last = one.submission
    if last is None or last.is_known:
        return one
    job = owners.get(Path(last.folder))
    return dataclasses.replace(one, submission=None if job is None else last.identified(job))


def _queued(one: RunStatus, problem: str, queue: slurm_queue.Answer) -> RunStatus:
    if not _is_open_in_slurm(one) or one.submission is None:
        return one
    job = queue.queued.get(one.submission.job)
    return dataclasses.replace(one, job=job, is_out_of_sight=bool(problem))


def _is_unexplained(one: RunStatus) -> bool:
    if not _is_open_in_slurm(one) or one.may_be_at_work:
        return False
    end = one.current.end if one.current else None
    return end is None or (end["reason"] in {"stopped", "lost"} and "cause" not in end)


def _accounted(one: RunStatus, accounts: slurm_queue.Answer) -> RunStatus:
    if one.submission is None:
        return one
    return dataclasses.replace(one, account=accounts.ended.get(one.submission.job))


def _notes(queue_problem: str, accounts_problem: str) -> list[str]:
    notes = []
    if queue_problem:
        notes.append(
            f"{queue_problem}; what is queued or running under Slurm is guessed from the runs' files"
        )
    if accounts_problem:
        notes.append(f"{accounts_problem}; why a job ended is told as far as the runs' ledgers say")
    return notes


def _notes_on_others(found: Sequence[RunStatus]) -> list[str]:
    guessed = [one for one in found if one.is_out_of_sight and one.is_at_work and not one.is_held]
    return [
        f"{one.run.name}: is on {one.submission.host}, not here; what it does is guessed from its files"
        for one in guessed
        if one.submission is not None and one.submission.cluster != "slurm"
    ]


def _reason(ended: Attempt, by_accounts: str) -> str:
    assert ended.end is not None
    why = ended.end.get("cause") or by_accounts or str(ended.reason)
    detail = str(ended.end.get("detail", "")).partition("\n")[0]
    return f"{why}: {detail}" if detail and ended.reason != "stopped" else why
