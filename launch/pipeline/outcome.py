"""What has become of a run that others wait for, and what to say of it."""

from __future__ import annotations

from launch.query.run_status import RunStatus

_SAID = {
    "failed": "has failed",
    "stopped": "was stopped",
    "diverged": "has diverged",
    "ready": "was never submitted",
    "unreadable": "can't be read",
}


def job_of(one: RunStatus) -> str | None:
    """Return the job of Slurm's that works on it, or will; None where there is none, or none is known."""
    last = one.submission
    return last.job if one.job is not None and last is not None and last.is_known else None


def describe(one: RunStatus) -> str:
    """Return how it stands, in a line that begins with its name: `a/b has failed (error: no room)`."""
    if one.is_finished:
        return f"{one.run.name} is done"
    if one.is_unknown and one.submission is not None:
        return f"{one.run.name}: nobody knows whether job {one.submission.job} still works on it"
    if one.is_at_work:
        host = one.submission.host if one.submission is not None and one.is_out_of_sight else ""
        where = f", as far as its files tell: it is on {host}, out of sight" if host else f" ({one.who})"
        return f"{one.run.name} is {one.state}{where}"
    why = one.problems[0] if one.state == "unreadable" else one.why
    return f"{one.run.name} {_SAID[one.state]}{f' ({why})' if why else ''}"
