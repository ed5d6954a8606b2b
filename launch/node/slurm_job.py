"""Slurm commands of a job about itself: ask what becomes of it, and ask that it start again.

All of it is of use, none of it needed: PATH may lead to no Slurm commands, or to some. Then every question is
answered with None, and what Slurm does by itself has to do.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence

from dnw.runs.ledger import Cause
from dnw.runs.lock import HolderState, Record
from launch.node.topology import Node
from launch.scheduler import partition
from launch.scheduler.host_list import expand
from launch.scheduler.slurm_command import FORGOTTEN, SlurmError, ask, job_record
from launch.scheduler.slurm_states import slurm_state

# Of a job, as scontrol and as squeue call them.
QUEUE_FIELDS = {
    **{"JobState": "State", "Reason": "Reason", "Restarts": "RestartCnt", "PreemptTime": "PreemptTime"}
}
SLACK_S = 60  # by which Slurm's clock and this node's may differ
WIDTH = 40  # of a column of squeue's; a reason may have blanks, or be empty


def why_stopping(node: Node) -> Cause | None:
    """Why this job is being stopped, as far as Slurm shows it while it is still there."""
    facts = _facts(node.job)
    if facts is None:
        return None if has_commands() or not _is_time_up() else "timeout"
    if int(facts.get("Restarts", "0")) > node.restart:
        return "requeued"  # or a node was lost: the accounts tell later
    if facts.get("Reason") == "TimeLimit":
        return "timeout"
    if facts.get("PreemptTime", "None") not in {"None", "Unknown", "N/A"}:
        return "preempted"
    return "signalled" if facts.get("JobState") == "RUNNING" else "cancelled"


def _is_time_up() -> bool:
    """Whether this job ends about now, as it was told when it began: for where no command can be asked."""
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return end.isdigit() and time.time() > int(end) - SLACK_S


def why_ended(job: str, restart: int) -> Cause | None:
    """Why an earlier start of a job ended, from the accounts."""
    options = ["--noheader", "--parsable2", "--allocations", "--duplicates", "--format=JobID,State"]
    options.append("--endtime=now+7days")  # by the controller's clock it may have begun after `now`
    said = _said("sacct", *options, f"--jobs={job}")
    ends = [state for one, _, state in _lines(said or "") if one == job]
    return slurm_state(ends[restart]).cause if restart < len(ends) else None


def silent(hosts: Sequence[str]) -> list[str]:
    """Those of these nodes that Slurm has lost."""
    said = _said("sinfo", "--noheader", "--Node", f"--nodes={','.join(hosts)}", "--format=%N %T") or ""
    states = [line.strip().partition(" ") for line in said.splitlines()]
    lost = {name for name, _, state in states if state.startswith("down") or state.endswith("*")}
    return sorted(lost & set(hosts))


def holder_state(node: Node, record: Record) -> HolderState:
    """Whether the attempt that a lock's record names still works, as seen from a job on `node`."""
    job, restart = str(record.get("job", "")), int(record.get("restart", 0))
    if not node.in_slurm or not record.get("slurm"):
        return "unknown"
    if job == node.job:
        return "gone" if restart < node.restart else "unknown"
    try:
        said = ask("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%i|%T")
    except SlurmError as error:
        return "gone" if FORGOTTEN in str(error) else "unknown"
    states = [state for one, _, state in _lines(said) if one == job]
    return "works" if any(slurm_state(state).works for state in states) else "gone"


def has_commands() -> bool:
    """Whether there is a command to ask with, whatever becomes of the question."""
    return can_requeue() or shutil.which("squeue") is not None


def can_requeue() -> bool:
    """Whether there is the command by which a job is requeued, whatever becomes of that."""
    return shutil.which("scontrol") is not None


def requeue(job: str) -> str | None:
    """Have Slurm start a job again; what it says against it, or None."""
    return _refused("scontrol", "requeue", job)


def exclude(job: str, hosts: Sequence[str]) -> str | None:
    """Have Slurm keep a job that waits to start again away from some more nodes; what it says against it."""
    kept = filter(None, [_excluded(job)])
    return _refused("scontrol", "update", f"JobId={job}", f"ExcNodeList={','.join([*kept, *hosts])}")


def depend(job: str, others: Sequence[str], also: Sequence[str] = ()) -> str | None:
    """Have Slurm keep a job that waits to start again until others have ended; what it says against it.

    Args:
        job: its id.
        others: theirs.
        also: what else it waits for, in Slurm's words: singleton.
    """
    dependency = ",".join([*also, f"afterany:{':'.join(others)}"])
    return _refused("scontrol", "update", f"JobId={job}", f"Dependency={dependency}")


def has_others(node: Node, hosts: Sequence[str]) -> bool:
    """Whether the partition of this job has enough nodes besides these and those that it leaves out already.

    Also where nobody says.
    """
    try:
        found = partition.ask(os.environ.get("SLURM_JOB_PARTITION"))
    except SlurmError:
        return True
    kept = _excluded(node.job)
    return partition.have_others(found, len({*hosts, *(expand(kept) if kept else ())}), node.count)


def _excluded(job: str) -> str:
    """Return the nodes that a job is kept away from, as Slurm writes them."""
    said = (_facts(job) or {}).get("ExcNodeList", "")
    return "" if said == "(null)" else said


def _facts(job: str) -> dict[str, str] | None:
    """Return what scontrol tells of a job; where there is none, squeue."""
    if not can_requeue():
        columns = ",".join(f"{name}:{WIDTH}" for name in QUEUE_FIELDS.values())
        said = _said("squeue", "--noheader", f"--jobs={job}", f"--Format={columns}")
        if said is None or not said.strip():
            return None
        line = said.splitlines()[0]
        return {
            name: line[place * WIDTH : (place + 1) * WIDTH].strip() for place, name in enumerate(QUEUE_FIELDS)
        }
    said = _said("scontrol", "--oneliner", "show", "job", job)
    return None if said is None else job_record(said, job)


def _lines(said: str) -> list[tuple[str, str, str]]:
    """Return the two words of each line: a job, `|`, and its state."""
    return [line.strip().partition("|") for line in said.splitlines()]


def _said(*words: str) -> str | None:
    """Return what a command prints; None where it can't."""
    try:
        return ask(*words)
    except SlurmError:
        return None


def _refused(*words: str) -> str | None:
    try:
        ask(*words)
    except SlurmError as error:
        return str(error)
    return None
