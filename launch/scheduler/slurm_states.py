"""Slurm's job states: what each means for a run (squeue(1) and sacct(1), JOB STATE CODES)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from dnw.runs.ledger import Cause


class SlurmState(NamedTuple):
    """What a state of a job means."""

    shown: Literal["queued", "running", "ended"]
    works: bool  # its processes may be at work, now or without a further start
    said: str = ""  # of a job that is over here, for people; "" where that explains nothing
    cause: Cause | None = None  # the same for the ledger, where it has a word for it


STATES = {
    "PENDING": SlurmState("queued", works=False),
    "REQUEUED": SlurmState("queued", works=False, cause="requeued"),
    "REQUEUE_HOLD": SlurmState("queued", works=False),
    "REQUEUE_FED": SlurmState("queued", works=False),
    "SPECIAL_EXIT": SlurmState("queued", works=False),
    "RESV_DEL_HOLD": SlurmState("queued", works=False),
    "EXPEDITING": SlurmState("queued", works=False),  # a requeue that doesn't wait; 25.11
    "POWER_UP_NODE": SlurmState("queued", works=True),
    "CONFIGURING": SlurmState("queued", works=True),
    "SUSPENDED": SlurmState("queued", works=True),
    "RESIZING": SlurmState("queued", works=True),
    "RUNNING": SlurmState("running", works=True),
    "STOPPED": SlurmState("running", works=True),
    "SIGNALING": SlurmState("running", works=True),
    # a sibling of it was started, on another cluster of the federation, of which this one tells no more
    "REVOKED": SlurmState("running", works=True, said="started on another cluster of the federation"),
    "STAGE_OUT": SlurmState("running", works=False),
    "COMPLETING": SlurmState("running", works=False),  # it is being killed
    "COMPLETED": SlurmState("ended", works=False),
    "FAILED": SlurmState("ended", works=False),
    "CANCELLED": SlurmState("ended", works=False, said="cancelled", cause="cancelled"),
    "TIMEOUT": SlurmState("ended", works=False, said="timeout", cause="timeout"),
    "PREEMPTED": SlurmState("ended", works=False, said="preempted", cause="preempted"),
    "NODE_FAIL": SlurmState("ended", works=False, said="node failure", cause="node failure"),
    "OUT_OF_MEMORY": SlurmState("ended", works=False, said="out of memory"),
    "DEADLINE": SlurmState("ended", works=False, said="deadline"),
    "BOOT_FAIL": SlurmState("ended", works=False, said="boot failure"),
}
UNKNOWN = SlurmState("running", works=True)  # of a later Slurm: what isn't known has not ended


def slurm_state(told: str) -> SlurmState:
    """Return what a state means, as squeue or sacct write it: CANCELLED by 1000, RUNNING+."""
    return STATES.get(told.partition(" ")[0].rstrip("+"), UNKNOWN)
