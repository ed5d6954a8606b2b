"""What Slurm says of its partitions: how large they are, how long a job may run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from launch.scheduler import slurm_command, time_limit
from launch.scheduler.slurm_command import SlurmError, UnreachedError, fields


@dataclass(frozen=True)
class Partition:
    """One partition; None is what Slurm doesn't say, or doesn't limit."""

    name: str
    nodes: int | None = None
    max_nodes: int | None = None
    longest_s: int | None = None

    def refusal(self, nodes: int, limit_s: int | None) -> str | None:
        """Why a job would wait here for ever; unless EnforcePartLimits is set, sbatch takes it nevertheless.

        Args:
            nodes: how many it asks for.
            limit_s: its time limit; None if it may exceed the partition's limits.
        """
        if self.nodes is not None and nodes > self.nodes:
            return f"nodes={nodes}: partition {self.name} has {self.nodes}"
        if limit_s is None:
            return None
        if self.max_nodes is not None and nodes > self.max_nodes:
            return f"nodes={nodes}: partition {self.name} gives a job {self.max_nodes} at most"
        if self.longest_s is not None and limit_s > self.longest_s:
            return (
                f"cluster.timeout_min: partition {self.name} has a time limit of {self.longest_s // 60} "
                f"minutes (got {limit_s // 60})"
            )
        return None


def ask(names: str | None) -> list[Partition]:
    """Return the partitions that a job would go to; none where Slurm doesn't say.

    Args:
        names: with commas between them; None: the default one.

    Raises:
        UnreachedError: no controller answers.
    """
    found = [fields(line) for line in _said("show", "partition", "--oneliner").splitlines()]
    if names is None:
        chosen = [one for one in found if one.get("Default") == "YES"]
    else:
        chosen = [one for one in found if one.get("PartitionName") in names.split(",")]
    return [partition(one) for one in chosen]


def partition(said: dict[str, str]) -> Partition:
    """One partition, from the words of `scontrol show partition`."""
    longest = said.get("MaxTime", "")
    return Partition(
        said["PartitionName"],
        nodes=_number(said.get("TotalNodes")),
        max_nodes=_number(said.get("MaxNodes")),
        longest_s=time_limit.seconds(longest) if longest[:1].isdigit() else None,
    )


def have_others(found: Sequence[Partition], nodes: int, needed: int) -> bool:
    """Return whether one of these partitions has enough nodes besides some; also where Slurm doesn't say.

    Args:
        found: where a job may go.
        nodes: how many are to be kept out.
        needed: how many it asks for.
    """
    sizes = [one.nodes for one in found if one.nodes is not None]
    return not sizes or max(sizes) - nodes >= needed


def existing(nodes: Iterable[str]) -> list[str]:
    """Those of these nodes that Slurm knows: it refuses a job that names another."""
    return [name for name in nodes if _said("show", "node", name, "--oneliner")]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _said(*words: str) -> str:
    """Return what scontrol prints; nothing where it can't, as it only serves to warn early."""
    try:
        return slurm_command.ask("scontrol", *words)
    except UnreachedError:
        raise
    except SlurmError:
        return ""
