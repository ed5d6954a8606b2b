"""What a submission to Slurm asks for beyond its settings, because of what Slurm and earlier attempts say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch import grace_period
from launch.cluster import job_variables
from launch.cluster.lanes import lanes, packs
from launch.cluster.sbatch_errors import unreached
from launch.config import Cluster
from launch.node import retry_policy
from launch.node.container import NAMES
from launch.prepare import RunPlan
from launch.scheduler import array, partition, sbatch_environment, stop_grace
from launch.scheduler.partition import Partition
from launch.scheduler.slurm_command import SlurmError, UnreachedError
from launch.scheduler.stop_grace import Grants


@dataclass(frozen=True)
class SubmissionChecks:
    """What checks before a submission found, for runs that are submitted together."""

    exclude: tuple[str, ...] = ()  # nodes that are kept out, besides those that cluster.exclude names
    notes: tuple[str, ...] = ()  # what to tell of it
    doubts: tuple[str, ...] = ()  # what may go wrong
    refusal: str | None = None  # why these jobs would wait for ever, or can't be handed in
    largest_array: int = array.DEFAULT_LARGEST  # runs that an array may have
    grants: Grants | None = None  # how long a preempted job lives on, where that was asked
    after: tuple[Run, ...] = ()  # runs that have to be done first
    jobs: tuple[str, ...] = ()  # those of Slurm's that work on them, or will


AS_SET = SubmissionChecks()


def preflight(plans: Sequence[RunPlan]) -> SubmissionChecks:
    """Check runs that are submitted as one job, or as one array.

    Args:
        plans: at least one; all launched in the same way.
    """
    launch = plans[0].launch
    cluster = launch.cluster
    try:
        found = partition.ask(cluster.partition or os.environ.get("SBATCH_PARTITION"))
        exclude, notes = _failed_nodes(plans, found)
    except UnreachedError as error:  # before fresh=true has moved a run aside
        return SubmissionChecks(refusal=unreached(*str(error).split(": ", maxsplit=1)))
    qos = cluster.qos or os.environ.get("SBATCH_QOS")
    unlimited = qos is not None  # a QOS may grant more
    elsewhere = sbatch_environment.refusal(os.environ)
    refusals = [one.refusal(launch.nodes, None if unlimited else cluster.limit_s) for one in found]
    granted = _granted(found, qos) if launch.dry_run or any(plan.need for plan in plans) else None
    jobs = packs(plans)
    largest = array.largest() if len(jobs) > 1 else array.DEFAULT_LARGEST
    if len(jobs) > largest:
        notes = (*notes, _divided(jobs, cluster.array_parallelism, largest))
    if launch.pack is not None:
        what = "one job" if len(jobs) == 1 else f"{len(jobs)} jobs, up to {max(map(len, jobs))} in each"
        notes = (*notes, f"pack={launch.pack}: {len(plans)} {'run' if len(plans) == 1 else 'runs'} in {what}")
    kept_back = dict.fromkeys(job_variables.kept_back(plan.train, plan.launch) for plan in plans)
    notes = (*notes, *filter(None, [_absent_runtime(cluster), *kept_back]))
    doubts = (
        grace_period.doubt(plan.need, cluster.grace_s, plan.train.checkpoint, granted) for plan in plans
    )
    return SubmissionChecks(
        exclude=exclude,
        notes=notes,
        doubts=tuple(dict.fromkeys(filter(None, doubts))),
        refusal=elsewhere or ("; ".join(filter(None, refusals)) if refusals and all(refusals) else None),
        largest_array=largest,
        grants=granted,
    )


def _absent_runtime(cluster: Cluster) -> str | None:
    """Return what to say where the container's runtime is not here; the nodes may have it."""
    names = NAMES[cluster.container_runtime]
    if cluster.container is None or any(map(shutil.which, names)):
        return None
    return f"cluster.container: {' or '.join(names)}: not found on this machine; the nodes must have it"


def _divided(jobs: Sequence[Sequence[RunPlan]], parallelism: int, largest: int) -> str:
    """Return what to say of a sweep that is several arrays."""
    found = lanes(len(jobs), parallelism, largest)
    shares = " + ".join(str(lane.share) for lane in found)
    what = "runs" if max(map(len, jobs)) == 1 else "packs of runs"
    return (
        f"{len(jobs)} {what} in {sum(len(lane.sizes) for lane in found)} job arrays, since Slurm takes "
        f"{largest} in one at most (MaxArraySize); at a time {parallelism} of them, over all arrays: {shares}"
    )


def _granted(found: Sequence[Partition], qos: str | None) -> Grants | None:
    """Return what a preempted job gets in that of these partitions which gives it the least."""
    try:
        grants = [stop_grace.grants(one.name, qos) for one in found]
    except SlurmError:
        return None  # it serves to warn; sbatch is going to say what is wrong
    known = [one for one in grants if one.preempted_s is not None]
    return min(known, key=lambda one: one.preempted_s or 0, default=None)


def _failed_nodes(
    plans: Sequence[RunPlan], found: Sequence[Partition]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the nodes to keep out since they failed twice or were unfit, and what to say of them."""
    failed = {node for plan in plans for node in retry_policy.nodes_to_exclude(ledger.read(plan.run))}
    nodes = tuple(partition.existing(sorted(failed)))
    if not nodes:
        return (), ()
    names = ", ".join(nodes)
    if not partition.have_others(found, len(nodes), plans[0].launch.nodes):
        return (), (f"not excluded: {names} (failed twice, or unfit): too few nodes would be left",)
    return nodes, (f"excluded: {names} (failed twice, or unfit)",)
