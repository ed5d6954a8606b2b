"""How the nodes of a job wait for one another, by the file system that they share.

Hundreds of nodes that ask a file server several times a second are a burden to all of its users. So each
node asks for one thing at a time, one file or one folder, in a turn of its own, and less often the more nodes
there are (launch/node/timeouts.py). The first one alone reads what the others have reported.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dnw.runs import lock
from dnw.runs.claim import Claim, Look
from dnw.runs.folder import Run
from launch.node import unfit
from launch.node.signals import StopRequests
from launch.node.timeouts import LOOK_S, POLL_S, look_s
from launch.node.topology import Node


def pauses_s(node: Node) -> tuple[float, float]:
    """Return the seconds between a node's looks at how an attempt stands, and before the first of them."""
    between_s = look_s(node.count) if node.rank else LOOK_S
    return between_s, until_turn_s(node, between_s)


def until_turn_s(node: Node, between_s: float) -> float:
    """Return the seconds until a node's next turn, of which there is one in each `between_s`."""
    return (between_s * node.rank / node.count - time.time()) % between_s


def met_at(node: Node, record: lock.Record) -> Node:
    """Return a node that knows where the first one is to be met, by what that has written into the lock."""
    return dataclasses.replace(node, head=str(record.get("address", node.head)))


def look(claim: Claim, node: Node) -> Look:
    """Return how the attempt stands; the first node passes on what nodes say that could not even start."""
    stands = claim.look()
    if stands != "works" or node.count == 1 or node.rank > 0:
        return stands
    found = unfit.reports(claim.run)
    for rank, facts in found.items():
        claim.report(rank, has_failed=True, **facts)
    return "failed" if found else stands


def reported(
    claim: Claim, known: Mapping[int, dict[str, Any]] = MappingProxyType({})
) -> dict[int, dict[str, Any]]:
    """Return what the nodes have reported so far, those included that could not even start."""
    return unfit.reports(claim.run) | claim.reports(known)


def next_attempt(
    run: Run, node: Node, last: int, stop: StopRequests, patience_s: float
) -> lock.Record | None:
    """Return what the first node says of the attempt that it has begun after `last`; None if the job is over.

    All nodes ask one file, each in its turn.

    Args:
        run: the run.
        node: this one of the job's nodes.
        last: number of the attempt that this node was in last, 0 before the first.
        stop: the requests to stop that this node got.
        patience_s: how long to wait for the first node.

    Raises:
        TimeoutError: it has begun none within `patience_s`.
    """
    if run.result.exists():
        return None
    deadline, pause_s = time.monotonic() + patience_s, look_s(node.count, POLL_S)
    stop.pause(until_turn_s(node, pause_s))
    has_gone = False
    while time.monotonic() < deadline:
        record = lock.read(run.lock)
        ours = (record.get("job"), record.get("restart")) == (node.job, node.restart)
        if ours and int(record["attempt"]) > last:
            return record
        if stop.signal or (has_gone and not ours):
            return None
        has_gone = bool(last) and not ours  # it has let go, or is just writing: then it is ours once more
        stop.pause(pause_s)
    raise TimeoutError(
        f"{run.lock}: the first node of job {node.job}, {node.hosts[0]}, has begun no attempt within "
        f"{patience_s:.0f} s, or this node doesn't see that it has; see its log, and whether all nodes "
        "have the same folder there"
    )
