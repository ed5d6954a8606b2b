"""How many GPUs of each node a run asks for: as typed, in whichever of Slurm's ways, or what the nodes have.

All of Slurm's ways to ask are made one, `cluster.gpus_per_node`, so that the number of processes follows from
it here, before anything is submitted. What can't be known here (`--gpus-per-socket`, 7 GPUs for 2 nodes) is
left as it is, and the job counts what it was given (launch/node/job.py).

A partition may have several kinds of nodes. The job is given nodes of one kind, by the type of their GPUs:
the kind that most nodes have. The smallest number that all of them have would leave GPUs idle, and mixed
types train at the pace of the slowest and on other bits. Only where no kind has enough nodes is it that
number. Slices of GPUs (MIG) are taken where there are no whole ones, one on each node.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dnw.config import ConfigError, Train
from launch import cpu_hours
from launch.config import Launch, check_gpus
from launch.gpus import visible_gpus
from launch.scheduler import gres
from launch.scheduler.gres import Gpus, NodeKind
from launch.scheduler.slurm_command import SlurmError

Asks = Callable[[str | None], list[NodeKind]]
# options, and SBATCH_ and the same in capitals, that name GPUs of a node; a job has one task on each
_OF_A_NODE = ("gpus_per_node", "gpus_per_task")
_OF_THE_JOB = "gpus"
_LISTS = ("gres", "tres_per_node", "tres_per_task")
_ELSEWISE = ("gpus_per_socket", "tres_per_job", "tres_per_socket")
COUNTED_THERE = (
    "as many processes on each node as it has GPUs when the job begins; cluster.cpus_per_task= names the "
    "cores for all of them"
)


@dataclass(frozen=True)
class Request:
    """A launch whose GPUs are settled, as far as they can be."""

    launch: Launch
    notes: tuple[str, ...] = ()
    refusal: str | None = None  # why it can't be submitted as it is


def settled(
    train: Train,
    launch: Launch,
    in_foreground: bool,
    ask: Asks = gres.node_kinds,
    environment: Mapping[str, str] = os.environ,
) -> Request:
    """Return the launch with the GPUs that it asks for on each node.

    Args:
        train: what is trained.
        launch: as it was typed.
        in_foreground: it runs here and now, on the GPUs to be seen, be it inside `srun` or `salloc`.
        ask: tells which kinds of nodes Slurm has.
        environment: sbatch's defaults are in there.

    Raises:
        ConfigError: GPUs are asked for in two ways at once, or there are fewer than processes.
    """
    if in_foreground or launch.cluster.name == "local":
        found = Request(_of_this_machine(launch))
    else:
        found = _of_slurm(train, _in_one_way(launch, environment), ask, environment)
    check_gpus(found.launch)
    notes = [*found.notes, *_idle(found.launch)]
    is_known = found.launch.gpus == 0 or in_foreground or launch.cluster.name == "local"
    if launch.wants_gpus and is_known and not found.launch.gpus:
        notes.append(cpu_hours.told(train, launch.nodes * found.launch.processes_per_node))
    return dataclasses.replace(found, notes=tuple(notes))


def _of_this_machine(launch: Launch) -> Launch:
    if launch.cluster.gpus_per_node is not None:
        return launch
    visible = len(visible_gpus())
    return _asking(launch, min(launch.nproc or visible, visible) or None)


def _of_slurm(train: Train, launch: Launch, ask: Asks, environment: Mapping[str, str]) -> Request:
    cluster = launch.cluster
    if cluster.gpus_per_node is None and _elsewise(launch, environment):
        return Request(launch, () if launch.nproc else (COUNTED_THERE,))
    if cluster.gpus_per_node is not None or not launch.wants_gpus:
        return Request(launch)
    if not cluster.gpus_by_slurm:
        return Request(launch, refusal="cluster.gpus_per_node: type it, with cluster.gpus_by_slurm=false")
    try:
        kinds = ask(cluster.nodelist)
    except SlurmError as error:
        return Request(
            launch,
            refusal=f"cluster.gpus_per_node: Slurm doesn't tell which GPUs the nodes have ({error}); type it",
        )
    partitions = cluster.partition or environment.get("SBATCH_PARTITION")
    there = [kind for kind in kinds if _is_meant(kind, partitions) and _has(kind, cluster.constraint)]
    with_some = [kind for kind in there if kind.gpus]
    whole = [kind for kind in with_some if kind.gpus and not kind.gpus.are_slices]
    chosen = _chosen(whole or with_some, launch.nodes, any(kind.has_slices for kind in there))
    if chosen is not None and chosen.are_slices:
        chosen = dataclasses.replace(chosen, count=1)
    if chosen is None:
        return Request(launch, refusal=_refusal(train, launch, there, kinds))
    count = min(launch.nproc or chosen.count, chosen.count)
    asked = _asking(launch, dataclasses.replace(chosen, count=count))
    names = ", ".join(dict.fromkeys(kind.partition for kind in there))
    return Request(
        asked,
        notes=(
            f"cluster.gpus_per_node={asked.cluster.gpus_per_node}, processes on each node: "
            f"{asked.processes_per_node}; nodes of partition {names} have {_listed(there)} GPUs",
        ),
    )


def _chosen(kinds: Sequence[NodeKind], nodes: int, has_slices: bool) -> Gpus | None:
    """Return what to ask of each node; None where too few have any. Slices would do for GPUs of any type."""
    by_gpus: dict[Gpus, dict[str, int]] = {}
    for kind in kinds:
        assert kind.gpus is not None
        of = by_gpus.setdefault(kind.gpus, {})
        of[kind.partition] = of.get(kind.partition, 0) + kind.nodes
    counts = {gpus: max(of.values()) for gpus, of in by_gpus.items()}  # partitions may share nodes
    enough = [gpus for gpus, count in counts.items() if count >= nodes]
    if enough:
        most = max(enough, key=lambda gpus: (counts[gpus], gpus.count))
        return most if has_slices or len({gpus.type for gpus in counts}) > 1 else Gpus(most.count)
    if sum(counts.values()) >= nodes:
        return Gpus(min(gpus.count for gpus in counts))
    return None


def _refusal(train: Train, launch: Launch, there: Sequence[NodeKind], kinds: Sequence[NodeKind]) -> str:
    names = ", ".join(dict.fromkeys(kind.partition for kind in there)) or launch.cluster.partition
    where = f"partition {names}" if names else "the default partition, of which there is none,"
    with_some = [kind for kind in there if kind.gpus]
    has = f"has {sum(kind.nodes for kind in with_some)} nodes with some" if with_some else "has none"
    asked = f"nodes={launch.nodes}: " if with_some else "cluster.partition: "
    others = [kind for kind in kinds if kind.gpus and kind not in there]
    names_of_others = dict.fromkeys(kind.partition for kind in others)
    listed = ", ".join(f"{n} ({_listed([k for k in others if k.partition == n])})" for n in names_of_others)
    other = f"these have: {listed}" if listed else "no other has any"
    if not listed and not with_some:
        other += (
            " that Slurm knows of (those of whole nodes: cluster.gpus_by_slurm=false cluster.gpus_per_node=N)"
        )
    return (
        f"{asked}{train.exp} wants GPUs, and {where} {has}; {other}. "
        "cluster.gpus_per_node=0 trains on the CPU"
    )


def _listed(kinds: Sequence[NodeKind]) -> str:
    """Such as `8 nodes a100:4, 2 nodes 8`, those without GPUs as 0."""
    counts: dict[str, int] = {}
    for kind in kinds:
        gpus = str(kind.gpus or 0)
        counts[gpus] = max(counts.get(gpus, 0), kind.nodes)
    return ", ".join(f"{n} node{'s' if n > 1 else ''} {gpus}" for gpus, n in counts.items())


def _is_meant(kind: NodeKind, partitions: str | None) -> bool:
    return kind.is_default if partitions is None else kind.partition in partitions.split(",")


def _has(kind: NodeKind, constraint: str | None) -> bool:
    """Whether nodes have all features of a constraint; one that isn't just names is left to Slurm."""
    names = frozenset((constraint or "").split("&")) - {""}
    return not all(name.replace("_", "").replace("-", "").isalnum() for name in names) or (
        names <= kind.features
    )


def _idle(launch: Launch) -> list[str]:
    gpus, processes = launch.gpus or 0, launch.processes_per_node
    if gpus <= processes:
        return []
    return [f"{gpus - processes} of {gpus} GPUs of each node stay idle: nproc={processes}; leave nproc out"]


def _asking(launch: Launch, gpus: Gpus | int | None) -> Launch:
    asked = str(gpus) if isinstance(gpus, Gpus) and gpus.type else gpus
    value = asked.count if isinstance(asked, Gpus) else asked
    return dataclasses.replace(launch, cluster=dataclasses.replace(launch.cluster, gpus_per_node=value))


def _in_one_way(launch: Launch, environment: Mapping[str, str]) -> Launch:
    """With the GPUs that options of sbatch's ask for as `cluster.gpus_per_node`.

    Raises:
        ConfigError: both are given.
    """
    cluster = launch.cluster
    more, found = _without_gpus(cluster.additional_parameters or {}, launch.nodes)
    if found and cluster.gpus_per_node is not None:
        raise ConfigError(
            f"cluster.gpus_per_node, cluster.additional_parameters: both ask for GPUs (got "
            f"{cluster.gpus_per_node} and {found}); leave one out"
        )
    if found is None and cluster.gpus_per_node is None:  # what is typed is worth more than a default
        _, found = _without_gpus(_defaults(environment), launch.nodes)
    if found is None:
        return launch
    kept = dataclasses.replace(cluster, additional_parameters=more or None)
    return _asking(dataclasses.replace(launch, cluster=kept), found)


def _defaults(environment: Mapping[str, str]) -> dict[str, str]:
    options = (*_OF_A_NODE, _OF_THE_JOB, *_LISTS)
    return {o: environment[f"SBATCH_{o.upper()}"] for o in options if f"SBATCH_{o.upper()}" in environment}


def _without_gpus(
    options: Mapping[str, str | int | float | bool], nodes: int
) -> tuple[dict[str, str | int | float | bool], Gpus | None]:
    """Return sbatch's options without those that ask for GPUs, and how many these ask for on each node."""
    kept = dict(options)
    found: Gpus | None = None
    for key, value in options.items():
        option = key.replace("-", "_")
        if option in _LISTS:
            gpus, others = gres.split(str(value))
            one = gpus[0] if len(gpus) == 1 else None
        else:
            others, one = [], gres.amount(str(value)) if option in (*_OF_A_NODE, _OF_THE_JOB) else None
        if one is not None and option == _OF_THE_JOB:
            one = None if one.count % nodes else dataclasses.replace(one, count=one.count // nodes)
        if one is None:
            continue
        found = one
        del kept[key]
        kept |= {key: ",".join(others)} if others else {}
    return kept, found


def _elsewise(launch: Launch, environment: Mapping[str, str]) -> bool:
    """Whether GPUs are asked for in a way that says nothing of a node."""
    typed = {
        key.replace("-", "_"): value for key, value in (launch.cluster.additional_parameters or {}).items()
    }
    given = _defaults(environment) | typed
    return any(option in given for option in (*_ELSEWISE, _OF_THE_JOB, *_OF_A_NODE)) or any(
        gres.split(str(given[option]))[0] or gres.has_shared(str(given[option]))
        for option in _LISTS
        if option in given
    )
