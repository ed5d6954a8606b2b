"""Whether a run that failed is started again: each cause has its budget.

What isn't the run's fault (preemption, a lost node) has none. A killed or hung attempt is tried again, as
long as the run gets on; one that a node could not take part in, a few times, since other nodes may do. An
error is one: it is tried again only where `error_retries` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dnw.runs.ledger import Attempt

OWN_FAULTS = frozenset({"error", "killed", "hung", "unfit"})
FAILURES = frozenset({*OWN_FAULTS, "lost"})
FOR_EVERY_NODE = {  # faults, and what is said of them
    "code": "its code is damaged for every node",
    "settings": "its settings would be refused again",
}
MOST_UNFIT = 3  # attempts in a row that a node was unfit for; then it may be something that all nodes share
TOO_OFTEN = 2  # failures of a node
MOST_UNMET = 4  # attempts in a row that nodes could not begin; launch/node/start.sh has the same number
RECENT = 4  # attempts: a long run must not exclude, one by one, every node that it ever met


@dataclass(frozen=True)
class Decision:
    """Whether to start again, and why (not)."""

    again: bool
    why: str


def decide(attempts: Sequence[Attempt], error_retries: int, has_others: bool = True) -> Decision:
    """Return what follows the last of these attempts, which failed.

    Args:
        attempts: all of the run.
        error_retries: how many errors of a worker are tried again.
        has_others: whether there are nodes that it could go on with in place of an unfit one.
    """
    last = attempts[-1]
    if last.reason == "diverged":
        return Decision(False, "the same steps would give the same values")
    fault = last.end.get("fault") if last.end is not None else None
    if fault in FOR_EVERY_NODE:
        return Decision(False, f"{FOR_EVERY_NODE[fault]}: not started again")
    if last.reason not in OWN_FAULTS:
        return Decision(True, "that was not the run's fault")
    if last.reason == "unfit":
        return _unfit(attempts, has_others)
    if last.reason == "error":
        errors = sum(attempt.reason == "error" for attempt in attempts)
        if errors > error_retries:
            tried = f" after {error_retries} retries" if error_retries else ""
            return Decision(False, f"not started again{tried} (error_retries={error_retries})")
    return _by_progress([one for one in attempts if one.reason not in {"unfit", "dependency"}])


def _unfit(attempts: Sequence[Attempt], has_others: bool) -> Decision:
    """Return what follows an attempt for which a node was unfit."""
    if not has_others:
        return Decision(False, "there is no other machine to go on with: not started again")
    if not is_unfit(attempts[-1]):
        return _after_unmet(attempts)
    if sum(map(is_unfit, attempts[-MOST_UNFIT:])) == MOST_UNFIT:
        return Decision(False, f"{MOST_UNFIT} attempts in a row found a node unfit: not started again")
    return _after_unmet(attempts, "that node is unfit: going on without it, where there are others")


def _by_progress(attempts: Sequence[Attempt]) -> Decision:
    """Return whether the run gets on, from its attempts that have begun."""
    last = attempts[-1]
    before = next((one for one in reversed(attempts[:-1]) if one.reason in OWN_FAULTS), None)
    if before is None or before is not attempts[-2]:
        return Decision(True, "starting again from the newest checkpoint")
    if last.last_step is not None and last.last_step == before.last_step:
        return Decision(False, f"this was the second time after step {last.last_step}: not started again")
    if not progressed(last) and not progressed(before):
        said = "two attempts in a row ended before anything was saved"
        return Decision(False, f"{said}: not started again; lower checkpoint.every_minutes?")
    return Decision(True, "starting again from the newest checkpoint")


def _after_unmet(attempts: Sequence[Attempt], why: str = "trying again") -> Decision:
    newest = attempts[-MOST_UNMET:]
    if [one.reason for one in newest] == ["unfit"] * MOST_UNMET:
        return Decision(False, f"the nodes could not begin {MOST_UNMET} times in a row: not started again")
    return Decision(True, why)


def progressed(attempt: Attempt) -> bool:
    """Whether the run was further when an attempt ended than when it began."""
    if attempt.end is None or attempt.first_step is None:
        return False
    saved = attempt.end.get("saved", attempt.end.get("step", 0))
    return bool(saved > attempt.first_step)


def is_unfit(attempt: Attempt) -> bool:
    """Whether a node was surely unfit: found so (dnw/hardware/health.py), or without room for the run."""
    return attempt.end is not None and attempt.end.get("fault") == "node"


def nodes_to_exclude(attempts: Sequence[Attempt]) -> list[str]:
    """Return the nodes that failed in two of the run's newest attempts, or were found unfit in one.

    Where a node could not reach the first one, either may be at fault: the node is counted, and the first one
    is excluded once two different nodes could not reach it.
    """
    failed_ones = [one for one in attempts[-RECENT:] if one.end is not None and one.reason in FAILURES]
    recent = [one for one in failed_ones if (one.end or {}).get("fault") not in FOR_EVERY_NODE]
    failed: Counter[str] = Counter()
    unreached: set[tuple[str, str]] = set()
    for attempt in recent:
        end = attempt.end or {}
        nodes = {node for node in end.get("nodes", [end.get("node")]) if node}
        for node in nodes:
            failed[node] += TOO_OFTEN if is_unfit(attempt) else 1
        unreached |= {(end["peer"], node) for node in nodes if end.get("peer")}
    accused = Counter(peer for peer, _ in unreached)
    return sorted({node for times in (failed, accused) for node in times if times[node] >= TOO_OFTEN})
