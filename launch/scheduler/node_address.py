"""Under which address Slurm itself reaches a node."""

from __future__ import annotations

import os

from launch.scheduler.slurm_command import SlurmError, ask, fields


def node_addresses(first: str) -> list[str]:
    """Return the addresses by which Slurm reaches the first node of the job around us, the best one first.

    NodeAddr of slurm.conf, where Slurm can be asked; and that of the node on which srun was called, which is
    the one that runs the batch script: the first.

    Args:
        first: that node's name.
    """
    try:
        configured = fields(ask("scontrol", "--oneliner", "show", "node", first)).get("NodeAddr")
    except SlurmError:
        configured = None
    return [one for one in (configured, os.environ.get("SLURM_LAUNCH_NODE_IPADDR")) if one]
