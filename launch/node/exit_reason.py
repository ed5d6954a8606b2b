"""Find out why an attempt ended from what it left behind; record it in the ledger, and print it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnw.preemption import PEER_FAILED, STOPPED, TIME_IS_UP, signal_name
from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run, newest_step
from dnw.runs.ledger import Attempt, Cause, Reason
from launch.node import meeting, slurm_job
from launch.node.topology import Node

DONE, FAILED = 0, 1
LAST_LINES = 15
LAST_BYTES = 1 << 18  # in which these lines are looked for
UNSAVED = "not saved in the time granted"  # how the detail of an attempt begins that was killed on request


@dataclass(frozen=True)
class Ended:
    """An attempt whose agents have ended, as its first node sees it."""

    run: Run
    attempt: int
    node: Node
    # by node: the agent's exit code, negative if a signal killed it, and what memory_events.py tells
    reports: Mapping[int, Mapping[str, Any]]
    asked: signal.Signals | None  # to stop
    log: Path | None  # what the workers of this node printed; None: they printed to the terminal

    @property
    def code(self) -> int:
        """The exit code of the agent on the first node."""
        return int(self.reports[self.node.rank]["code"])


def conclude(ended: Ended) -> int:
    """Complete the ledger, and say how the attempt ended.

    Returns:
        0 done, 75 stopped on request with everything saved, 76 diverged, 1 failed.
    """
    run, attempt = ended.run, ended.attempt
    found = next((one for one in ledger.read(run) if one.number == attempt), Attempt(attempt))
    if run.result.exists():
        if found.end is None:
            ledger.end(run, attempt, "done", by="launcher")
        return DONE
    # what all ranks have agreed on holds, whatever ended them then
    facts = _as("diverged") if found.reason == "diverged" else _judge(found, ended)
    has_diverged = facts["reason"] == "diverged"
    cause = None if has_diverged else why_asked(ended.node, ended.asked)
    if cause:
        facts["cause"] = cause
    saved = newest_step(run.checkpoints) or 0
    ledger.end(run, attempt, by="launcher", saved=saved, **facts)
    if facts["reason"] == "stopped":
        by = ", ".join(filter(None, [ended.asked.name if ended.asked else None, cause]))
        shown = f" ({by})" if by else ""
        _say(f"{run.name}: attempt {attempt} stopped on request{shown}; the same command resumes it")
        return STOPPED
    told = facts.get("detail") or (found.end or {}).get("detail", "no reason given")
    _say(f"{run.name}: attempt {attempt} failed ({facts['reason']}): {told}")
    if ended.log is not None:
        _say("\n".join(f"  {line}" for line in tail(ended.log)))
        _say(f"the whole log: {ended.log}")
    return DIVERGED if has_diverged else FAILED


def why_asked(node: Node, asked: signal.Signals | None) -> Cause | None:
    """Why the cluster asked a job to stop, if it did."""
    if asked is None or not node.in_slurm:
        return None
    known = slurm_job.why_stopping(node)
    return "timeout" if known in {None, "signalled"} and asked in TIME_IS_UP else known


def _judge(found: Attempt, ended: Ended) -> dict[str, Any]:
    """How it ended: what the workers could not record, or did not know, and what they have said."""
    was_stopped = ended.asked is not None and found.reason == "stopped"
    memory = None if was_stopped else _out_of_memory(ended)
    unsaved = found.end is None or found.end.get("fault") == "peer"  # the peer ended before it had saved
    if memory is None and ended.asked is not None and (was_stopped or unsaved):
        return _stopped(found, ended)
    fault = found.end.get("fault") if found.end is not None else None
    if fault in {"device", "node"}:  # the others were aborted for that
        return _as("unfit" if fault == "node" else "killed", node=_host_of(found, ended))
    # what the others recorded, a connection closed by a peer, followed from it
    if where := _damaged(ended) or _unfit(found, ended) or memory or _killed(found, ended):
        return where
    if ended.asked is None and (silent := _silent(ended)):
        return _as("lost", f"no word from {', '.join(silent)}", silent[0])
    if found.end is not None and (found.reason != "stopped" or ended.code == STOPPED):
        return _as(found.end["reason"], node=_host_of(found, ended))
    lines = tail(ended.log) if ended.log is not None else []
    return _as("error", lines[-1] if lines else f"exit code {ended.code}")


def _stopped(found: Attempt, ended: Ended) -> dict[str, Any]:
    """Of an attempt that was asked to stop, and did as far as it knew."""
    assert ended.asked is not None
    if found.reason == "stopped":
        return _as("stopped")  # saved; what signals came while it was ending doesn't matter
    if found.start is None:
        return _as("stopped", "before the first step")
    return _as("killed", f"{UNSAVED} after {ended.asked.name}")


def _as(reason: Reason, detail: str = "", node: str = "") -> dict[str, Any]:
    told = {"detail": detail, "node": node}
    return {"reason": reason, **{key: value for key, value in told.items() if value}}


def _damaged(ended: Ended) -> dict[str, Any] | None:
    """Of an attempt for which the code that the run keeps was damaged, for whichever node saw it first."""
    told = [report for report in ended.reports.values() if report["code"] == meeting.DAMAGED]
    return _as("error", str(told[0]["detail"])) | {"fault": "code"} if told else None


def _unfit(found: Attempt, ended: Ended) -> dict[str, Any] | None:
    """Of an attempt that a node could not take part in, as it said; or to which it didn't come."""
    hosts, reports = ended.node.hosts, ended.reports
    unfit = [rank for rank, report in reports.items() if report["code"] in meeting.UNFIT]
    if unfit:
        sure = [rank for rank in unfit if reports[rank].get("fault") == "node"]
        nodes = [hosts[rank] for rank in sure or unfit]
        detail = "; ".join(
            f"{hosts[rank]}: {reports[rank].get('detail', 'no reason given')}" for rank in unfit
        )
        is_unreached = all(reports[rank]["code"] == meeting.UNREACHED for rank in unfit)
        more = ({"peer": hosts[0]} if is_unreached else {}) | ({"fault": "node"} if sure else {})
        return _as("unfit", detail, nodes[0]) | {"nodes": nodes} | more
    if found.start is not None or ended.code != meeting.UNMET:
        return None
    silent = _silent(ended)
    detail = f"{', '.join(silent)} did not come" if silent else "the nodes did not meet in time"
    return _as("unfit", detail, next(iter(silent), "")) | {"nodes": silent}


def _killed(found: Attempt, ended: Ended) -> dict[str, Any] | None:
    """Return the first node on which a signal killed a worker, or the agent itself.

    SIGABRT comes last: NCCL aborts a process when it finds that a peer is gone. Where a worker has said what
    ended it, that was not the abort.
    """
    codes = {rank: report["code"] for rank, report in ended.reports.items()}
    numbers = {rank: -code if code < 0 else code - 128 for rank, code in codes.items()}
    killed = [
        (number == signal.SIGABRT, rank)
        for rank, number in numbers.items()
        # 255 is what a container's runtime has for any failure; PEER_FAILED the job sent to an agent that had
        # just begun
        if number in signal.valid_signals() and number != PEER_FAILED
    ]
    if not killed:
        return None
    is_aborted, rank = min(killed)
    if is_aborted and found.end is not None and found.end.get("fault") != "peer":
        return None
    where = f" on {ended.node.hosts[rank]}" if ended.node.count > 1 else ""
    return _as("killed", f"by {signal_name(numbers[rank])}{where}", ended.node.hosts[rank])


def _out_of_memory(ended: Ended) -> dict[str, Any] | None:
    """Return that the kernel killed a process, of a worker's loader perhaps, as a node had too little memory.

    No node is named as the one at fault: another one gives the same.
    """
    killed = {rank: report for rank, report in ended.reports.items() if report.get("oom_kills")}
    if not killed:
        return None
    rank, report = min(killed.items())
    asked = f"the job's limit is {report['memory_mb']:,} MB" if report.get("memory_mb") else "it had no limit"
    return _as(
        "killed",
        f"out of memory on {ended.node.hosts[rank]}: the kernel killed {report['oom_kills']} of its "
        f"processes; {asked}; raise cluster.mem_gb, or set a smaller nproc or data.workers",
    )


def _silent(ended: Ended) -> list[str]:
    """Return the nodes that have reported nothing."""
    return [host for rank, host in enumerate(ended.node.hosts) if rank not in ended.reports]


def _host_of(found: Attempt, ended: Ended) -> str:
    """Return the node whose worker wrote the attempt's end; none if a peer's failure caused that."""
    end = found.end or {}
    if end.get("fault") == "peer" and ended.node.count > 1:
        return ""
    return str(end.get("host", "")) if "rank" in end else ""


def tail(log: Path) -> list[str]:
    """Return the last lines of a log that say anything."""
    if not log.exists():
        return []
    with log.open("rb") as file:  # which may have grown to gigabytes, of warnings say
        file.seek(max(0, log.stat().st_size - LAST_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-LAST_LINES:]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
