"""How a job that stopped goes on under Slurm, where exiting ends the job: nothing requeues itself.

A job that ends by itself within its grace time has merely failed, or completed. So it asks to be requeued:
- when it is preempted (with PreemptMode=CANCEL that is the only way), and when its time is up;
- when Slurm knows of no reason for the TERM. Where a node was cut off, the srun of the attempt before may be
  there still; when the link is back it ends the step of its number, and that is now another one.

Where it can't ask, it waits to be killed: Slurm then requeues what it preempted. A job that an operator
requeued, or whose node was lost, is requeued already; one that was cancelled shall not be.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import get_args

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.node import retry_policy, slurm_job
from launch.node.topology import Node

LONGEST_GRACE_S = 900  # a partition's GraceTime, or KillWait; then the TERM was someone's kill


def after_stop(run: Run, node: Node, asked: signal.Signals) -> None:
    """Have Slurm start this job again, if that is what the signal was for."""
    last = ledger.last(run)
    if last is not None and last.reason == "diverged":
        return  # it would again
    cause = last.cause if last else None
    if cause == "preempted":
        _requeue(node.job, "preempted; Slurm may start it again")
    elif cause == "signalled" and asked is signal.SIGTERM:
        _requeue(node.job, "a TERM for which Slurm has no reason")
    elif cause == "timeout" and last is not None and retry_policy.progressed(last):
        _requeue(node.job, "the time limit")
    elif cause == "timeout":
        _say("nothing was saved within the time limit: raise cluster.timeout_min; not started again")
    elif asked is signal.SIGTERM and cause not in {*get_args(ledger.Cause), "done"}:
        time.sleep(LONGEST_GRACE_S)  # nobody told why


def elsewhere(node: Node, bad: list[str]) -> None:
    """Leave nodes that failed twice: the job is requeued without them."""
    _say(f"{', '.join(bad)} failed twice: excluded from now on")
    _requeue(node.job, "go on without these nodes")
    if refused := slurm_job.exclude(node.job, bad):
        _say(f"excluding {', '.join(bad)}: {refused}")


def _requeue(job: str, why: str) -> None:
    if refused := slurm_job.requeue(job):
        _say(f"job {job} not requeued ({why}): {refused}; should it not go on, type the submit command again")
        time.sleep(LONGEST_GRACE_S)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
