"""How a job that stopped goes on under Slurm, where exiting ends the job: nothing requeues itself.

A job that ends by itself within its grace time has merely failed, or completed. So it asks to be requeued:
- when it is preempted (with PreemptMode=CANCEL that is the only way), and when its time is up;
- when Slurm knows of no reason for the TERM. Where a node was cut off, the srun of the attempt before may be
  there still; when the link is back it ends the step of its number, and that is now another one.

Exiting before Slurm has agreed would be the end of the run. So it asks again and again, as long as no
controller answers, and is there to be killed meanwhile: Slurm then requeues what it preempted. A job that an
operator requeued, or whose node was lost, is requeued already; one that was cancelled shall not be. Of a job
that a site has made one that is never requeued, Slurm says so: another job follows it.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import get_args

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.ledger import Cause
from launch.node import follow_up, retry_policy, slurm_job
from launch.node.topology import Node
from launch.scheduler.slurm_command import will_pass

OVER = frozenset({"requeued", "cancelled"})  # what Slurm has decided already
NEVER = "presently disabled"  # what Slurm says of a job with Requeue=0, as a plug-in may have it
FIRST_PAUSE_S = 1.0  # before asking again, doubled each time
LONGEST_PAUSE_S = 10.0  # a controller that comes back ends jobs that are over their limit within 30 s
LONGEST_GRACE_S = 900  # a partition's GraceTime, or KillWait; then the TERM was someone's kill


def after_stop(run: Run, node: Node, asked: signal.Signals, others: Sequence[Run] = ()) -> None:
    """Have Slurm start this job again, if that is what the signal was for.

    Args:
        run: whose last attempt has ended.
        node: this one, the first of the job.
        asked: the signal that asked the job to stop.
        others: runs that go on with it, in the same job.
    """
    if why := reason(run, node, asked):
        again(run, node, why, others)


def reason(run: Run, node: Node, asked: signal.Signals) -> str | None:
    """Return why a run whose last attempt has ended shall be started again; None if it shall not.

    Args:
        run: which.
        node: this one, the first of the job.
        asked: the signal that asked the job to stop.
    """
    last = ledger.last(run)
    if last is not None and last.reason == "diverged":
        return None  # it would again
    cause = last.cause if last else None
    if asked is signal.SIGTERM and cause not in {*get_args(Cause), "done"}:
        cause = _why_stopping(node)  # nobody told
    if cause == "preempted":
        return "preempted; Slurm may start it again"
    if cause == "signalled" and asked is signal.SIGTERM:
        if not _is_second(run):
            return "a TERM for which Slurm has no reason"
        _say(
            "a TERM for which Slurm has no reason, twice in a row before anything was saved: not started "
            f"again; the task of another node may have failed, see {run.slurm}"
        )
    elif cause == "timeout" and last is not None and retry_policy.progressed(last):
        return "the time limit"
    elif cause == "timeout":
        _say("nothing was saved within the time limit: raise cluster.timeout_min; not started again")
    return None


def elsewhere(run: Run, node: Node, bad: list[str]) -> bool:
    """Leave nodes that failed: the job is requeued without them, if the partition has enough others.

    Args:
        run: the run.
        node: this one, the first of the job.
        bad: names of the nodes to leave.

    Returns:
        whether Slurm starts it again; if not, it goes on where it is, and nodes don't lie idle.
    """
    if not slurm_job.has_others(node, bad):
        _say(f"{', '.join(bad)} failed twice, or unfit; not excluded: too few nodes would be left")
        return False
    is_excluding = slurm_job.can_requeue()
    refused = slurm_job.requeue(node.job) if is_excluding else follow_up.submit(run, node, bad)
    if refused is not None and NEVER in refused:
        is_excluding, refused = False, follow_up.submit(run, node, bad)
    if refused is not None:
        told = f"not left, as job {node.job} can't be requeued: {refused}"
        _say(f"{', '.join(bad)} failed twice, or unfit; {told}")
        return False
    _say(f"{', '.join(bad)} excluded from now on: failed twice, or unfit")
    if is_excluding and (refused := slurm_job.exclude(node.job, bad)):
        _say(f"excluding {', '.join(bad)}: {refused}")
    return True


def _is_second(run: Run) -> bool:
    """Whether the last two attempts ended by such a signal, and nothing was saved in them."""
    newest = ledger.read(run)[-2:]
    return len(newest) > 1 and all(
        one.cause == "signalled" and not retry_policy.progressed(one) for one in newest
    )


def again(run: Run, node: Node, why: str, others: Sequence[Run] = ()) -> None:
    """Ask Slurm to start the job again until it agrees.

    An answer may be lost. So before asking again it looks whether this start of the job still is the one that
    Slurm knows: it would stop the next one.

    Args:
        run: what it works on.
        node: this one, the first of the job.
        why: for people.
        others: runs that go on with it, in the same job.
    """
    if not slurm_job.can_requeue():
        refused = follow_up.submit(run, node, others=others)
        if refused is None:
            _say(f"a job that follows job {node.job} is submitted ({why}): scontrol: not found here")
            return
        time.sleep(LONGEST_GRACE_S)  # to be killed: Slurm then requeues what it preempted
        told = f"scontrol: not found here, and no job can follow: {refused}"
        _say(f"job {node.job} not requeued ({why}): {told}; type the submit command again to go on")
        return
    refused = slurm_job.requeue(node.job)
    if refused is None:
        return
    if NEVER in refused and follow_up.submit(run, node, others=others) is None:
        _say(f"a job that follows job {node.job} is submitted ({why}): {refused}")
        return
    _say(f"job {node.job} not requeued yet ({why}): {refused}; asking again")
    for known in _asked_again(node):
        if known in OVER or (known is not None and slurm_job.requeue(node.job) is None):
            return
    _say(f"job {node.job} not requeued ({why}): {refused}; type the submit command again to go on")


def ask(node: Node) -> str | None:
    """Have Slurm start this job again, which nobody stops; what it says against it, or None.

    An order whose answer is lost may have been taken. So it is given again only where Slurm still knows this
    start of the job.
    """
    refused = slurm_job.requeue(node.job)
    if refused is None or not will_pass(refused):
        return refused
    for known in _asked_again(node):
        if known in OVER:
            return None
        if known is not None:
            refused = slurm_job.requeue(node.job)
        if refused is None or not will_pass(refused):
            return refused
    return refused


def _why_stopping(node: Node) -> Cause | None:
    """Return why Slurm stops this job, once it tells; None if it never does."""
    return next((known for known in _asked_again(node) if known is not None), None)


def _asked_again(node: Node) -> Iterator[Cause | None]:
    """Return why Slurm stops this job, again and again; None while no controller answers.

    That ends after LONGEST_GRACE_S, of which the time without an answer is no part: nobody can kill the job
    then, or start another one on its nodes. Where there is no command to ask with, it is.
    """
    deadline, pause_s = time.monotonic() + LONGEST_GRACE_S, FIRST_PAUSE_S
    while time.monotonic() < deadline:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        known = slurm_job.why_stopping(node)
        if known is None and slurm_job.has_commands():
            deadline = time.monotonic() + LONGEST_GRACE_S
        yield known


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
