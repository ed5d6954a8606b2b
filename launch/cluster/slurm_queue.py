"""What Slurm knows of jobs: its queue, its accounts, its deadlines; one call for any number of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from launch.cluster.submission import Submission
from launch.scheduler import array
from launch.scheduler.handover import same
from launch.scheduler.slurm_command import FORGOTTEN, SlurmError, records
from launch.scheduler.slurm_states import slurm_state

QUEUE_FIELDS = "%i|%T|%r|%N|%P|%V|%S|%o"
ACCOUNT_FIELDS = "JobID,State,ExitCode,Submit,End"
SLACK_S = 3600  # by which clocks may differ


@dataclass(frozen=True)
class QueuedJob:
    """A job that Slurm has still to do with. Times are Slurm's, in seconds since 1970."""

    id: str
    state: str  # RUNNING, PENDING, COMPLETING, ...
    reason: str  # why it waits: Priority, Resources, BeginTime, ...
    nodes: str  # as Slurm abbreviates them, n[1-2]; empty while it waits
    partition: str
    submitted: float
    starts: float | None  # when it started, or is expected to
    script: str

    @property
    def is_running(self) -> bool:
        """Whether it has nodes."""
        return slurm_state(self.state).shown == "running"


@dataclass(frozen=True)
class EndedJob:
    """A job as the accounts have it."""

    id: str
    state: str  # COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, ...
    exit_code: str  # CODE:SIGNAL
    submitted: float
    ended: float | None


@dataclass(frozen=True)
class Answer:
    """What one question brought in, and why it brought in nothing."""

    queued: dict[str, QueuedJob] = field(default_factory=dict)
    ended: dict[str, EndedJob] = field(default_factory=dict)
    problem: str = ""


def queued(submissions: Sequence[Submission]) -> Answer:
    """Those jobs that wait or run, by id: one call of squeue, or none if there are no submissions."""
    if not submissions:
        return Answer()
    jobs = ",".join(sorted({one.job for one in submissions}))
    words = ["squeue", "--noheader", "--array", f"--jobs={jobs}", f"--format={QUEUE_FIELDS}"]
    try:
        found = {
            job.id: job for job in records(_queued_job, *words) if slurm_state(job.state).shown != "ended"
        }
    except SlurmError as error:
        # Of a single job that it has forgotten squeue says this; of one among many, nothing.
        return Answer(problem="" if FORGOTTEN in str(error) else str(error))
    return Answer(queued={one.job: found[one.job] for one in submissions if _is_of(found.get(one.job), one)})


def ended(submissions: Sequence[Submission]) -> Answer:
    """Return what the accounts say of those jobs, by id; one call of sacct at most.

    Elements that never started share one record, which is found by the id of their array alone.
    """
    if not submissions:
        return Answer()
    arrays = ",".join(sorted({array.array_of(one.job) for one in submissions}))
    words = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={arrays}"]
    words.append("--endtime=now+7days")  # by the controller's clock it may have ended after `now`
    try:
        told = records(_ended_job, *words, f"--format={ACCOUNT_FIELDS}")
    except SlurmError as error:
        return Answer(problem=str(error))
    found: dict[str, EndedJob] = {}
    for job in sorted(told, key=lambda job: "[" not in job.id):  # what is told of one element alone holds
        found |= {name: replace(job, id=name) for name in array.names(job.id)}
    return Answer(ended={one.job: found[one.job] for one in submissions if _is_of(found.get(one.job), one)})


def _queued_job(line: str) -> QueuedJob:
    job, state, reason, nodes, partition, submitted, starts, script = line.split("|", 7)
    return QueuedJob(
        *(job, state, reason, nodes, partition), _time(submitted) or 0.0, _time(starts), script.strip()
    )


def _ended_job(line: str) -> EndedJob:
    job, state, exit_code, submitted, end = line.split("|")
    return EndedJob(job, state.partition(" ")[0], exit_code, _time(submitted) or 0.0, _time(end))


def _time(text: str) -> float | None:
    """Seconds since 1970; None for N/A and Unknown."""
    return float(text) if text.isdigit() else None


def _is_of(job: QueuedJob | EndedJob | None, submission: Submission) -> bool:
    """Whether a job is that of a submission: ids come again, on a cluster that was set up anew."""
    if job is None or job.submitted < submission.time - SLACK_S:
        return False
    script = job.script if isinstance(job, QueuedJob) else ""
    folders = (Path(script).parent, Path(script).parent.parent)  # earlier versions made one in it
    return not script.startswith("/") or any(same(one, Path(submission.folder)) for one in folders)
