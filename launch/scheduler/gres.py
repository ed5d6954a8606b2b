"""GPUs as Slurm writes them, as a generic resource: asked for (`gpu:a100:4`), and what the nodes have.

sinfo is asked, with one line for all nodes that are alike, where `scontrol show node` has one for each of
perhaps thousands. A node's GPUs are in its Gres on any cluster; CfgTRES repeats them only where
AccountingStorageTRES says so, and Slurm builds it from the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from launch.scheduler.slurm_command import records

_GPU = re.compile(r"(?:gres[:/])?gpu(?::(?P<type>[^:=]+?))??(?:[:=](?P<count>\d+))?")
_AMOUNT = re.compile(r"(?:(?P<type>\d*[^:=,\d][^:=,]*):)?(?P<count>\d+)")
_SHARED = re.compile(r"(?:^|,)\s*(?:gres[:/])?(?:shard|mps)\b")
_SLICE = re.compile(r"(?:^|[._])\d+g\.\d+gb")
_PLACES = re.compile(r"\([^)]*\)")  # of the sockets that GPUs are on, or their numbers: (S:0-1), (IDX:0-3)


@dataclass(frozen=True)
class Gpus:
    """So many GPUs, of one type or of any."""

    count: int
    type: str = ""

    @property
    def are_slices(self) -> bool:
        """Whether they are parts of a GPU (MIG: 1g.10gb), of which a process can use but one."""
        return _SLICE.search(self.type.lower()) is not None

    def __str__(self) -> str:
        """As `--gpus-per-node` takes it: 4, a100:4."""
        return f"{self.type}:{self.count}" if self.type else str(self.count)


@dataclass(frozen=True)
class NodeKind:
    """The nodes of a partition that have the same."""

    partition: str
    is_default: bool
    nodes: int
    gpus: Gpus | None  # on each; of several types those that there are most of, slices last
    features: frozenset[str] = frozenset()
    has_slices: bool = False  # of GPUs, be it beside whole ones


def amount(text: str) -> Gpus | None:
    """Return what `--gpus`, `--gpus-per-node` and the like ask for; None where it isn't one amount."""
    found = _AMOUNT.fullmatch(text.strip())
    return Gpus(int(found["count"]), found["type"] or "") if found else None


def split(text: str) -> tuple[list[Gpus], list[str]]:
    """Part a list of generic resources, as in `--gres` or a node's Gres, into the GPUs and the others."""
    gpus, others = [], []
    for entry in filter(None, _PLACES.sub("", text).strip().split(",")):
        if found := _GPU.fullmatch(entry.strip()):
            gpus.append(Gpus(int(found["count"] or 1), found["type"] or ""))
        elif entry.strip() != "(null)":
            others.append(entry.strip())
    return gpus, others


def has_shared(text: str) -> bool:
    """Whether such a list asks for parts of GPUs that jobs share: shards, or those of MPS."""
    return _SHARED.search(text) is not None


def node_kinds(nodes: str | None = None) -> list[NodeKind]:
    """Return which kinds of nodes there are in each partition, whatever state they are in.

    Args:
        nodes: these alone, as in `n[1-2]`; None: all.

    Raises:
        SlurmError: sinfo doesn't answer, or can't be understood.
    """
    only = [f"--nodes={nodes}"] if nodes else []
    return list(merged(records(_kind, "sinfo", "--noheader", "--all", "--format=%P|%D|%f|%G", *only)))


def merged(kinds: Iterable[NodeKind]) -> Iterable[NodeKind]:
    """Add up those that differ in nothing but their number."""
    counts: dict[NodeKind, int] = {}
    for kind in kinds:
        alike = replace(kind, nodes=0)
        counts[alike] = counts.get(alike, 0) + kind.nodes
    return (replace(kind, nodes=count) for kind, count in counts.items())


def _kind(line: str) -> NodeKind:
    partition, nodes, features, gres = line.split("|", 3)
    gpus, _ = split(gres)
    most = max(gpus, key=lambda one: (one.count > 0, not one.are_slices, one.count), default=None)
    return NodeKind(
        partition.rstrip("*"),
        partition.endswith("*"),
        int(nodes),
        most if most and most.count else None,
        frozenset(features.split(",")) - {"(null)"},
        has_slices=any(one.are_slices for one in gpus),
    )
