"""The node that a job runs on, among the nodes of the job."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass

from launch.scheduler import array

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Node:
    """One node of a job, as seen from itself."""

    rank: int
    count: int
    address: str  # under which the other nodes reach it
    head: str  # the address of rank 0, where the nodes meet
    job: str  # what the cluster calls the job; ARRAY_INDEX in a job array
    restart: int  # how often the cluster has started this job again
    hosts: tuple[str, ...]  # all nodes of the job, by rank
    in_slurm: bool = False


def this_node(count: int) -> Node:
    """Where this process is, among `count` nodes.

    Raises:
        RuntimeError: there should be several nodes, but this is no step of a Slurm job of that size.
    """
    executor = os.environ.get("SUBMITIT_EXECUTOR")
    if executor == "slurm":
        return _slurm_node(count)
    if count > 1:
        raise RuntimeError(f"nodes: {count} nodes need a Slurm job; here is none")
    job = os.environ["SUBMITIT_LOCAL_JOB_ID"] if executor == "local" else str(os.getpid())
    return Node(0, 1, LOOPBACK, LOOPBACK, job, 0, (socket.gethostname(),))


def _slurm_node(count: int) -> Node:
    job, restart = array.own_name(os.environ), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    address = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    if count == 1:
        return Node(0, 1, LOOPBACK, LOOPBACK, job, restart, (address,), in_slurm=True)
    given = int(os.environ["SLURM_JOB_NUM_NODES"])
    if given != count:
        raise RuntimeError(f"nodes: the run was launched for {count} nodes, but Slurm gave {given}")
    hosts = _hosts()
    return Node(int(os.environ["SLURM_NODEID"]), count, address, hosts[0], job, restart, hosts, in_slurm=True)


def _hosts() -> tuple[str, ...]:
    listed = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    return tuple(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split())
