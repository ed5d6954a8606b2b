"""How long the nodes of a job wait for one another; docs/preemption.md has the table, which a test compares.

Whoever knows more of a failure has to speak before those who merely miss somebody, and nobody may give up
while another may yet go on. So each of these is longer than what it waits for.
"""

from __future__ import annotations

from dnw.training.watchdog import patience_s

LOOK_S = 1.0  # between two looks at what other nodes have reported
POLL_S = 0.5  # between two looks at whether the first node has begun an attempt
MOST_LOOKS = 40  # a second, at the file system that they share, of all nodes of a job but the first
LONGEST_LOOK_S = 14  # of the nodes of a large job
SEEN_S = 30  # until a report is seen by all nodes, on a file system that caches names
UNREACHABLE_S = 10  # that no way may lead to the first node, while links come up
CONNECT_S = 120  # that the first node gets to listen: it imports torch, from a busy file system perhaps
STORE_S = 60  # for one question to torchrun's store
JOIN_S = 300  # that all nodes get to come to torchrun's rendezvous
WORKERS_END_S = 30  # torchrun's own: what it gives workers to end in when one has failed
REPORT_WAIT_S = 75  # that the first node waits for the others' reports
MARGIN_S = 30  # what an agent gets beyond its workers' grace before it is killed


def look_s(nodes: int, least_s: float = LOOK_S) -> float:
    """Return the seconds between two looks of each of so many nodes at the file system that they share."""
    return min(max(least_s, nodes / MOST_LOOKS), LONGEST_LOOK_S)


def first_node_s(grace_s: float, watchdog_s: float) -> float:
    """Return how long other nodes wait for the first one to begin an attempt, after theirs has ended.

    Longer than anything that it may be waiting for: an attempt that ends there last, then their reports.
    """
    return max(JOIN_S, grace_s + MARGIN_S, patience_s(watchdog_s)) + REPORT_WAIT_S + MARGIN_S
