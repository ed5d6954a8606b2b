"""On a node, before the run of this job begins: have the runs that it waits for been done?

    python -m launch.pipeline.gate [--wait] RUN OTHER...
    python -m launch.pipeline.gate --pack FILE

Slurm alone can't tell. A run is not one job: at its time limit it may go on under the id of another one
(launch/node/follow_up.py), or be typed again. With `afterok` a job would wait for ever once the other one has
failed (DependencyNeverSatisfied), unless the site has set kill_invalid_depend: then it would be cancelled
without a word. So the job depends on the end of the other job, however that ends (`afterany`), which always
comes, and asks here, when it has begun:

- the others are done: exit code 0, and the script goes on; so it does at every later start, once this run has
  begun, whatever has become of the others since;
- one is queued or running: this job is put back into the queue, to depend on that job, which costs no
  attempt and a few seconds of its nodes;
- one won't be done by itself: that goes into the ledger, as the end of an attempt, a notice is sent where one
  was asked for, and the job ends with 1.

Of runs that share a job each has others of its own, which FILE names. They begin together: the job waits
again as long as one of them has to. One that won't begin is marked (launch/pack/marks.py), and keeps none of
the rest from it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from dnw.preemption import STOPPED
from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError, Lock
from launch.cluster.gated import PACK, WAIT
from launch.node import follow_up, notify, requeue, slurm_job
from launch.node.requeue import NEVER
from launch.node.topology import LOOPBACK, Node
from launch.pack.marks import Marks, patiently
from launch.pipeline.outcome import describe, job_of
from launch.query.run_status import RunStatus, query_status
from launch.scheduler import array

DONE, OVER, HELD = 0, 1, 73
NOT_REQUEUED = "#SBATCH --no-requeue"  # of cluster.requeue=false
PAUSE_S = 5.0  # between two looks, under Slurm
POLL_S = 2.0  # the same where this waits itself: files are read
ASK_S = 30.0  # the same where Slurm has to be asked
SETTLE_S = 75.0  # by which files may be seen late: NFS keeps for 60 s that a file wasn't there
DEPEND_PAUSES_S = (1.0, 3.0, 9.0)  # before telling again what to wait for
ANSWER_S = 300.0  # for which Slurm may not answer


def main(words: Sequence[str]) -> int:
    """Return 0 if the run may begin, 75 if its job waits again, 1 if it won't, 73 if someone works on it.

    Of runs that share a job 0 if any of them may begin, and none has to wait.
    """
    if words[0] == PACK:
        path = Path(words[1])
        shared = json.loads(path.read_bytes())[int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))]
        after = {Run(Path(run)): [Run(Path(other)) for other in others] for run, others in shared.items()}
        return _pass(after, Marks(path.parent))
    is_waiting = words[0] == WAIT
    run, *others = (Run(Path(word)) for word in words[is_waiting:])
    return _pass({run: others}, is_waiting=is_waiting)


def _pass(after: Mapping[Run, Sequence[Run]], marks: Marks | None = None, is_waiting: bool = False) -> int:
    """Decide on the runs of this job; what `main` returns.

    Args:
        after: the runs, and what each waits for.
        marks: of those that share the job; None: it is a single run's.
        is_waiting: here, for as long as it takes.
    """
    unmarked = set(after) if marks is None else patiently(marks.unmarked, after)
    left = [run for run in after if run in unmarked]
    waiting = [run for run in left if not _has_begun(run)]
    if not waiting:
        return DONE
    others = list(dict.fromkeys(other for run in waiting for other in after[run]))
    try:
        found = wait(others) if is_waiting else _look(others)
    except _Stopped:  # preempted, say: Slurm is asked for another start, as the run itself would
        if NOT_REQUEUED not in follow_up.script_of(waiting[0]):
            requeue.after_stop(waiting[0], _here(), signal.SIGTERM, _without(left, waiting[:1]))
        return STOPPED
    open_ones = {
        run: [one for one in found if one.run in after[run] and not one.is_finished] for run in waiting
    }
    lost: dict[Run, str] = {}
    for run in waiting:
        for one in open_ones[run]:
            if is_waiting or not job_of(one):
                lost.setdefault(run, describe(one))
    codes = [_give_up(run, why, marks) for run, why in lost.items()]
    if again := [run for run in waiting if open_ones[run] and run not in lost]:
        its = list({one.run: one for run in again for one in open_ones[run]}.values())
        refused = _again(again[0], its, _without(left, [*lost, again[0]]))
        if refused is None:
            return STOPPED
        codes += [_give_up(run, refused, marks) for run in again]
    return DONE if len(codes) < len(left) else codes[0]


def _has_begun(run: Run) -> bool:
    return run.result.exists() or any(one.start is not None for one in ledger.read(run))


def _without(runs: Sequence[Run], some: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run not in some]


class _Stopped(Exception):
    """Slurm ends this job."""


def _stop(_: int, frame: FrameType | None) -> NoReturn:
    raise _Stopped


def _look(others: Sequence[Run]) -> list[RunStatus]:
    signal.signal(signal.SIGTERM, _stop)
    found = look(others)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which comes once Slurm has agreed to start this job again
    return found


def look(others: Sequence[Run]) -> list[RunStatus]:
    """Return how runs stand, once that is certain: what other nodes wrote, or Slurm says, comes late."""
    began = time.monotonic()
    while True:
        found = query_status(others)[0]
        waited_s = time.monotonic() - began
        if not any(_may_change(one, waited_s) for one in found):
            return found
        time.sleep(PAUSE_S)


def wait(others: Sequence[Run]) -> list[RunStatus]:
    """Return how runs stand, once all are done, or one won't be by itself."""
    changed = time.monotonic()
    while True:
        found = query_status(others)[0]
        over = [
            one for one in found if not one.is_finished and not one.is_surely_at_work and not one.is_unknown
        ]
        if all(one.is_finished for one in found):
            return found
        if not over:
            changed = time.monotonic()
        elif not any(_may_change(one, time.monotonic() - changed) for one in over):
            return over
        is_asking = any(one.submission is not None and one.submission.cluster == "slurm" for one in found)
        time.sleep(ASK_S if is_asking else POLL_S)


def _may_change(one: RunStatus, waited_s: float) -> bool:
    """Whether to look again at a run after so long: what is seen of it may not be what is so."""
    if one.is_finished or one.is_surely_at_work:
        return False
    if one.is_unknown:
        return waited_s < ANSWER_S
    is_told = one.account is not None or (
        one.current is not None and one.current.reason not in {None, "done"}
    )
    return not is_told and waited_s < SETTLE_S


def _again(run: Run, others: Sequence[RunStatus], beside: Sequence[Run]) -> str | None:
    """Have this job start again when the jobs of others have ended, or one that follows it; why not, or None.

    Args:
        run: that waits.
        others: what it waits for.
        beside: runs that share the job.
    """
    node, jobs = _here(), list(dict.fromkeys(str(job_of(one)) for one in others))
    told = "; ".join(map(describe, others))
    refused: str | None = NEVER
    if slurm_job.can_requeue():
        refused = requeue.ask(node)
    if refused is None:
        refused = _depend(run, node, jobs)
        _say(f"{run.name}: waits again: {told}" + (f"; {refused}" if refused else ""))
        return None
    followed = "no other job was asked for"
    if NEVER in refused:
        submitted = follow_up.submit(run, node, after=jobs, others=beside)
        if submitted is None:
            _say(f"{run.name}: waits again, in a job that follows {node.job}: {told}")
            return None
        followed = submitted
    why = followed if refused == NEVER else f"{refused}; {followed}"
    return f"{told}; this job can't wait again ({why})"


def _depend(run: Run, node: Node, jobs: Sequence[str]) -> str | None:
    """Have this job, which Slurm starts again, wait for others; what Slurm says against it, or None.

    Without, it would start at once, again and again, as long as the others work. Of what the user's own
    settings have it wait for only singleton is more than an event that has been.
    """
    also = follow_up.lasting(follow_up.script_of(run))
    refused: str | None = None
    for pause_s in (0.0, *DEPEND_PAUSES_S):
        time.sleep(pause_s)
        refused = slurm_job.depend(node.job, jobs, also)
        if refused is None:
            return None
    return refused


def _give_up(run: Run, why: str, marks: Marks | None) -> int:
    """Note in the ledger that the run has not begun, and why; and tell who asked to be told.

    Args:
        run: which.
        why: for people.
        marks: of the runs that share the job, of which this one is over.
    """
    if marks is not None:
        patiently(marks.end, run)
    said = f"{why}; once that is mended, type the command of both again"
    node = _here()
    try:
        with Lock.take(run.lock, holder_state=partial(slurm_job.holder_state, node)):
            number = ledger.next_attempt(run)
            facts = {"job": node.job, "restart": node.restart, "host": socket.gethostname()}
            ledger.claim(run, number, hosts=[], pid=os.getpid(), **facts)
            ledger.end(run, number, "dependency", by="launcher", detail=said)
    except HeldError as error:
        _say(str(error))
        return HELD
    _say(f"{run.name}: not begun: {said}")
    if (last := ledger.last(run)) is not None:
        notify.tell_as_handed_on(run, last, "not begun")
    return OVER


def _here() -> Node:
    """Return this node, of this job."""
    in_slurm = "SLURM_JOB_ID" in os.environ
    job = (
        array.own_name(os.environ) if in_slurm else os.environ.get("SUBMITIT_LOCAL_JOB_ID", str(os.getpid()))
    )
    name, restart = (
        os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        os.environ.get("SLURM_RESTART_COUNT"),
    )
    return Node(0, 1, LOOPBACK, job, int(restart or 0), (name,), in_slurm=in_slurm)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
