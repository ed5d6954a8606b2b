"""What a run has cost so far: node-hours and GPU-hours by its ledger, energy by the accounts of Slurm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnw.runs.goodput import durations_s
from dnw.runs.ledger import Attempt
from dnw.runs.metrics_scan import MetricsScan
from launch.cluster.job_energy import Allocation

SLACK_S = 300.0  # by which a node's clock and the controller's may differ
JOULES_OF_A_KWH = 3.6e6
HOUR_S = 3600.0


@dataclass(frozen=True)
class Cost:
    """Of all attempts, from each claim to its end; of one under way, to now. Waiting costs nothing.

    Runs that share a job (launch/pack/) share the hours, too, in equal parts.
    What a job does before and after its attempts (starting, ending) isn't in the hours, but in the energy.
    """

    node_hours: float
    gpu_hours: float | None  # GPUs that it computed on; None: no attempt has come so far as to tell


def cost(
    attempts: Sequence[Attempt], now: float | None = None, scan: MetricsScan | None = None
) -> Cost | None:
    """Return what a run has cost; None before its first attempt.

    Args:
        attempts: its ledger.
        now: seconds since 1970, if an attempt is under way.
        scan: what has been read of its metrics, by which attempts that were lost with their node are timed.
    """
    spent_s = durations_s(attempts, now, scan)
    if not spent_s:
        return None
    gpus = _gpus(attempts)
    by_number = {attempt.number: attempt for attempt in attempts}
    spent_s = {number: seconds / _sharing(by_number[number]) for number, seconds in spent_s.items()}
    nodes_s = sum(seconds * _nodes(by_number[number]) for number, seconds in spent_s.items())
    gpus_s = sum(seconds * gpus.get(number, 0) for number, seconds in spent_s.items())
    return Cost(round(nodes_s / HOUR_S, 4), round(gpus_s / HOUR_S, 4) if gpus else None)


def energies(attempts: Mapping[str, Sequence[Attempt]], told: Sequence[Allocation]) -> dict[str, float]:
    """Return the energy of each run for which it is accounted, kWh.

    A job that worked for several runs is none's: the accounts don't say how much was for which.

    Args:
        attempts: ledgers, by any name of the run.
        told: what the accounts know of all of the jobs.
    """
    owned = {name: _owned(ledger, told) for name, ledger in attempts.items()}
    owners = Counter(one for mine in owned.values() for one in mine)
    shared = {one for one, count in owners.items() if count > 1}
    return {
        name: round(sum(one.joules or 0 for one in mine) / JOULES_OF_A_KWH, 4)
        for name, mine in owned.items()
        if not mine & shared and any(one.joules is not None for one in mine)
    }


def _owned(attempts: Sequence[Attempt], told: Sequence[Allocation]) -> frozenset[Allocation]:
    """Return those in which an attempt began: ids alone don't tell, another job may have had them."""
    by_job: dict[str, list[Allocation]] = {}
    for one in told:
        by_job.setdefault(one.job, []).append(one)
    return frozenset(
        one
        for attempt in attempts
        if attempt.claim is not None
        for one in by_job.get(str(attempt.job), ())
        if one.began - SLACK_S <= attempt.claim["time"]
        and (one.ended is None or attempt.claim["time"] <= one.ended + SLACK_S)
    )


def _nodes(attempt: Attempt) -> int:
    hosts = (attempt.claim or {}).get("hosts")
    return max(1, len(hosts)) if isinstance(hosts, list) else 1


def _sharing(attempt: Attempt) -> int:
    """Return how many runs shared its job when that was submitted, and so what it cost."""
    runs = (attempt.claim or {}).get("runs")
    return runs if isinstance(runs, int) and runs > 0 else 1


def _gpus(attempts: Sequence[Attempt]) -> dict[int, int]:
    """Return the GPUs of each attempt; of one that never said so, those that a node had otherwise."""
    known = {one.number: _started(one) for one in attempts if one.start is not None}
    if not known:
        return {}
    each = max(count / _nodes(one) for one in attempts if (count := known.get(one.number)) is not None)
    return {one.number: known.get(one.number, round(each * _nodes(one))) for one in attempts}


def _started(attempt: Attempt) -> int:
    start = attempt.start or {}
    return int(start.get("world", 0)) if str(start.get("device", "")).startswith("cuda") else 0
