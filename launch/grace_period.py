"""Whether there is time to stop in: what a run needs, and what a time limit and a cluster grant.

What it needs its earlier attempts have measured: seconds of a step and of a save, in metrics.jsonl.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dnw.config import CheckpointSettings, ConfigError
from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from launch.config import Cluster
from launch.scheduler.stop_grace import Grants

LEAST_LEAD_S = 180  # Slurm looks at time limits every 30 s only, and a first save may be a slow one
SWEEP_S = 60  # what a lead has beyond what was measured, for the same reason
MARGIN_S = 15  # for processes to agree and to end
LAST = 5  # measurements; earlier ones may be of other nodes


@dataclass(frozen=True)
class Need:
    """What a run needs to stop in, by the slowest of its last measurements."""

    step_s: float
    save_s: float

    @property
    def seconds(self) -> int:
        """From a signal to the last process's end: the step under way, one to agree in, and a save."""
        return math.ceil(2 * self.step_s + self.save_s + MARGIN_S)

    def __str__(self) -> str:
        """Such as `41 s (2 steps of 3.0 s, 20.0 s to save, 15 s to spare)`."""
        return (
            f"{self.seconds} s (2 steps of {self.step_s:.1f} s, {self.save_s:.1f} s to save, "
            f"{MARGIN_S} s to spare)"
        )


def measured(run: Run, batch: int, processes: int) -> Need | None:
    """Return what a run has needed so far; None as long as it has no step or no save behind it.

    Args:
        run: the run, which need not be there.
        batch: images of one step, over all processes.
        processes: how many share it now; where it was more of them, a step will take longer.
    """
    worlds = [attempt.start["world"] for attempt in ledger.read(run) if attempt.start]
    slower = max(1.0, worlds[-1] / processes) if worlds else 1.0
    return need(jsonl.read(run.metrics), batch, slower)


def need(metrics: Iterable[Mapping[str, Any]], batch: int, slower: float = 1.0) -> Need | None:
    """Return the seconds that a run needs for a step and a checkpoint; None while it has logged none.

    Args:
        metrics: the records of its metrics.jsonl.
        batch: images of a step.
        slower: how many times as long its steps become.
    """
    steps, saves = [], []
    for record in metrics:
        kind = record.get("kind")
        if kind == "train" and record["images_per_second"] > 0:
            steps.append(batch / record["images_per_second"])
        elif kind == "save":
            saves.append(record["seconds"])
    if not steps or not saves:
        return None
    return Need(slower * max(steps[-LAST:]), max(saves[-LAST:]))


def settled(cluster: Cluster, needed: Need | None) -> Cluster:
    """Return the settings with `signal_delay_s` chosen, where it was left open.

    Raises:
        ConfigError: as `lead_s`.
    """
    return dataclasses.replace(cluster, signal_delay_s=lead_s(cluster, needed))


def lead_s(cluster: Cluster, needed: Need | None) -> int:
    """How long before its time limit a job is asked to stop: as set, or else at most half of the limit.

    Raises:
        ConfigError: stopping takes longer than the lead that was set, or than that half; with the figures,
            and what to set.
    """
    if cluster.signal_delay_s is not None:
        _check_asked(cluster, cluster.signal_delay_s, needed)
        return cluster.signal_delay_s
    half = cluster.limit_s // 2
    least = needed.seconds + SWEEP_S if needed else 0
    if needed and least > max(half, cluster.grace_s):
        raise _too_short(cluster, f"stopping this run takes up to {needed}", least)
    if cluster.grace_s > half:
        what = f"workers get {cluster.grace_s} s to save in (cluster.grace_s)"
        raise _too_short(cluster, what, cluster.grace_s)
    return min(max(LEAST_LEAD_S, cluster.grace_s, least), half)


def _too_short(cluster: Cluster, reason: str, least_s: int) -> ConfigError:
    return ConfigError(
        f"{cluster.limit_name}: a time limit of {cluster.limit_s} s is too short: {reason}, and half of the "
        f"limit should remain to train in; set {math.ceil(2 * least_s / 60)} minutes or more"
    )


def _check_asked(cluster: Cluster, asked_s: int, needed: Need | None) -> None:
    if cluster.limit_s <= asked_s:
        raise ConfigError(
            f"{cluster.limit_name}: a time limit of {cluster.limit_s} s is not longer than the lead with "
            f"which Slurm announces it, cluster.signal_delay_s={asked_s}; set a longer limit, or no lead"
        )
    if cluster.grace_s > asked_s:
        raise ConfigError(
            f"cluster.grace_s: {cluster.grace_s} s to save in, but Slurm ends the job "
            f"{asked_s} s after its signal; raise cluster.signal_delay_s, or leave it out"
        )
    if needed and needed.seconds > asked_s:
        raise ConfigError(
            f"cluster.signal_delay_s: {asked_s} s, but stopping this run takes up to {needed}; "
            f"set {needed.seconds + SWEEP_S} or more, or leave it out"
        )


def doubt(
    needed: Need | None, grace_s: int, settings: CheckpointSettings, grants: Grants | None
) -> str | None:
    """Return a warning where a job that gets TERM may lack the time to save, or None.

    Args:
        needed: what was measured.
        grace_s: cluster.grace_s.
        settings: how often it saves.
        grants: what Slurm leaves a preempted job.
    """
    if needed is None:
        return None
    short = [f"{grace_s} s (cluster.grace_s)"] if needed.seconds > grace_s else []
    if grants and grants.preempted_s is not None and needed.seconds > grants.preempted_s:
        short.append(f"{grants.preempted_s} s ({granted(grants)})")
    if not short:
        return None
    said = f"stopping takes up to {needed}, but after a TERM there are {' and '.join(short)}"
    counts = "the last checkpoint may be what counts"
    if settings.every == "auto":
        return f"checkpoint.every=auto: {said}: {counts}"
    often = f"save more often than every {settings.every_minutes:g} minutes"
    return f"checkpoint.every_minutes: {said}: {counts}; {often}"


def granted(grants: Grants) -> str:
    """How a preempted job's time comes about: `partition low: GraceTime 10 s + KillWait 30 s`."""
    named = {"GraceTime": grants.grace_time_s, "KillWait": grants.kill_wait_s}
    parts = [f"{name} {seconds} s" for name, seconds in named.items() if seconds is not None]
    whose = f"QOS {grants.qos}" if grants.qos else f"partition {grants.partition}"
    return f"{whose}: {' + '.join(parts)}"
