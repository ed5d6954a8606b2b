"""Complete the ledger when an attempt begins: Slurm tells by then why the earlier ones ended."""

from __future__ import annotations

from typing import Any

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt, Cause
from launch.node import slurm_job
from launch.node.topology import Node

# Causes that are final; "requeued" may turn out to be any of them.
TOLD = frozenset({"done", "preempted", "timeout", "cancelled", "node failure"})


def complete(run: Run, node: Node) -> None:
    """Give each attempt an end that has none, and the last one its cause, if Slurm knows it."""
    attempts = [attempt for attempt in ledger.read(run) if attempt.claim]
    for attempt in attempts:
        if attempt.end is None:
            facts = _facts(attempt, node, _cause(attempt, node))
            ledger.end(run, attempt.number, "lost", by="launcher", **facts)
        elif attempt is attempts[-1] and attempt.cause not in TOLD:
            cause = _cause(attempt, node)
            is_ours = cause == "requeued" and attempt.reason != "stopped"  # launch/node/requeue.py, elsewhere
            if cause is not None and cause != attempt.cause and not is_ours:
                ledger.end(run, attempt.number, attempt.end["reason"], by="launcher", cause=cause)


def _cause(attempt: Attempt, node: Node) -> Cause | None:
    assert attempt.claim is not None
    job, restart = attempt.claim["job"], attempt.claim["restart"]
    if not node.in_slurm or (job, restart) == (node.job, node.restart):
        return None
    return slurm_job.why_ended(job, restart)


def _facts(attempt: Attempt, node: Node, cause: Cause | None) -> dict[str, Any]:
    """Of an attempt that left no word."""
    if cause is None:
        return {"detail": "nothing is left that could say why"}
    hosts = attempt.claim["hosts"] if attempt.claim else []
    silent = slurm_job.silent(hosts) if cause == "node failure" and node.in_slurm else []
    named = {"node": silent[0]} if silent else {}
    return {"detail": cause, "cause": cause, **named}
