"""The node that a job runs on, among the nodes of the job."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from launch.node import interface
from launch.scheduler import array, host_list

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Node:
    """One node of a job, as seen from itself."""

    rank: int
    count: int
    head: str  # the address of rank 0, where the nodes meet; the others learn it from rank 0
    job: str  # what the cluster calls the job; ARRAY_INDEX in a job array
    restart: int  # how often the cluster has started this job again
    hosts: tuple[str, ...]  # all nodes of the job, by rank
    in_slurm: bool = False


def this_node(count: int, meet_on: str | None = None) -> Node:
    """Where this process is, among `count` nodes.

    Args:
        count: nodes of the job.
        meet_on: the interface on which they meet; None: any.

    Raises:
        LaunchError: the first node has no such interface.
        RuntimeError: there should be several nodes, but this is no step of a Slurm job of that size.
    """
    executor = os.environ.get("SUBMITIT_EXECUTOR")
    if executor == "slurm":
        return _slurm_node(count, meet_on)
    if count > 1:
        raise RuntimeError(f"nodes: {count} nodes need a Slurm job; here is none")
    job = os.environ["SUBMITIT_LOCAL_JOB_ID"] if executor == "local" else str(os.getpid())
    return Node(0, 1, LOOPBACK, job, 0, (socket.gethostname(),))


def _slurm_node(count: int, meet_on: str | None) -> Node:
    job, restart = array.own_name(os.environ), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if count == 1:
        name = os.environ.get("SLURMD_NODENAME", socket.gethostname())
        return Node(0, 1, LOOPBACK, job, restart, (name,), in_slurm=True)
    given = int(os.environ["SLURM_JOB_NUM_NODES"])
    if given != count:
        raise RuntimeError(f"nodes: the run was launched for {count} nodes, but Slurm gave {given}")
    hosts, rank = host_list.expand(os.environ["SLURM_JOB_NODELIST"]), int(os.environ["SLURM_NODEID"])
    head = interface.address_of_first(hosts, meet_on) if rank == 0 else hosts[0]
    return Node(rank, count, head, job, restart, hosts, in_slurm=True)
