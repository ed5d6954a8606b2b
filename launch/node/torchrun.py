"""How torchrun is started on a node: its command line and its environment."""

from __future__ import annotations

import os
import socket
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.errors import LaunchError
from launch.node.timeouts import JOIN_S, STORE_S
from launch.node.topology import LOOPBACK, Node

# What would make a worker believe that it is something else: a task of the job that started it, a rank of
# another torchrun, an MPI process. PET_* are torchrun's own options.
FOREIGN = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SUBMITIT", "PMI", "OMPI_", "PET_", "ROLE_")
FOREIGN_NAMES = frozenset(
    {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_ERROR_FILE"}
    | {"RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"}
    | {"MASTER_ADDR", "MASTER_PORT", "LOGLEVEL", "DNW_GPUS"}
    | {"MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}  # would overrule OMP_NUM_THREADS
)

TRAINING = ("dnw.train",)
FIRST_PORT, PORTS = 10_000, 20_000  # below what kernels hand out by themselves
TRIES = 100


def command(
    folder: Path,
    node: Node,
    nproc: int,
    port: int,
    meeting: str,
    grace_s: int,
    worker: Sequence[str] = TRAINING,
    python: str = sys.executable,
) -> list[str]:
    """Return the command that starts the workers of one node.

    Args:
        folder: the run folder, the workers' first argument.
        node: this node; on a single one everything stays on the loopback address.
        nproc: workers on this node.
        port: where the nodes meet; 0 takes any free one (single node).
        meeting: tells this attempt's meeting from those of any other attempt.
        grace_s: seconds that workers get to save in when they are asked to stop.
        worker: the module that they run, and their further arguments.
        python: what runs all of it.
    """
    endpoint = f"[{node.head}]" if ":" in node.head else node.head
    meeting_options: dict[str, object] = {"is_host": str(node.rank == 0).lower()}
    if node.count > 1:
        meeting_options |= {"join_timeout": JOIN_S, "read_timeout": STORE_S}
    options = {
        "--nnodes": node.count,
        "--nproc-per-node": nproc,
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": f"{endpoint}:{port}",
        "--rdzv-conf": ",".join(f"{name}={value}" for name, value in meeting_options.items()),
        "--rdzv-id": meeting,
        "--local-addr": _sorted_by_rank(node),
        "--max-restarts": 0,  # a restart in place would skip the ledger and the budget of attempts
        "--shutdown-timeout": grace_s,
        # launch/node/fork_server.py; torchrun itself would start a process anew
        "--start-method": "forkserver",
        "--signals-to-handle": "SIGINT",  # launch/node/agent.py makes every reason to stop one SIGINT
    }
    flags = [str(word) for option in options.items() for word in option]
    module, *arguments = worker
    return [python, "-m", "launch.node.agent", *flags, "-m", module, str(folder), *arguments]


def environment(
    current: Mapping[str, str], code: Path, threads: int, attempt: int, gpus: int | None
) -> dict[str, str]:
    """Return what agent and workers see: the frozen code first, no trace of the job around them.

    CUDA_VISIBLE_DEVICES and everything else that is not named above stays as it is, except that a run that is
    to train on the CPU sees no GPU. Workers refuse to train without the GPUs that were asked for
    (dnw/hardware/device.py): `gpus`, or what Slurm gave to a job for which nobody had named a number.

    Args:
        current: the environment of the job.
        code: the run's frozen code.
        threads: that each worker computes with.
        attempt: its number.
        gpus: that were asked for on each node; None: nobody named a number.
    """
    given = current.get("SLURM_GPUS_ON_NODE") or ("1" if "SLURM_SHARDS_ON_NODE" in current else None)
    asked = given if gpus is None else str(gpus)
    device = {} if asked is None else {"DNW_GPUS": asked}
    if asked == "0":
        device["CUDA_VISIBLE_DEVICES"] = ""
    kept = {key: value for key, value in current.items() if not _foreign(key)}
    others = [path for path in current.get("PYTHONPATH", "").split(os.pathsep) if path not in {"", str(code)}]
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(code), *others]),
        "PYTHONSAFEPATH": "1",  # else `-m` puts the current folder, the working tree perhaps, before the code
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "DNW_ATTEMPT": str(attempt),
        **device,
    }


def _sorted_by_rank(node: Node) -> str:
    """Return what torchrun numbers nodes by, in the order of these texts: n10 would come before n2.

    Only the first one's is used as an address besides; letters and digits sort before a tilde.
    """
    return node.head if node.rank == 0 else f"~{node.rank:06d}"


def on_one_node(environment: Mapping[str, str]) -> dict[str, str]:
    """Gloo's connections too stay on the loopback device."""
    return {"GLOO_SOCKET_IFNAME": "lo", **environment}


def on_several_nodes(
    environment: Mapping[str, str], interface: str | None, is_typed: bool = False
) -> dict[str, str]:
    """Return the environment in which Gloo, and the part of NCCL that uses sockets, meet on an interface.

    Args:
        environment: that of the workers; what the user has set there stays.
        interface: its name, as eth0; None: theirs to find.
        is_typed: whether the interface was typed, and so overrules what is set.
    """
    if interface is None:
        return dict(environment)
    chosen = {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}
    return {**environment, **chosen} if is_typed else {**chosen, **environment}


def free_port(node: Node) -> int:
    """Return a free port of this node, where the nodes of its job can meet; each job on it has another.

    Raises:
        LaunchError: none is free.
    """
    first = FIRST_PORT + zlib.crc32(node.job.encode()) % PORTS
    for offset in range(TRIES):
        port = FIRST_PORT + (first - FIRST_PORT + offset) % PORTS
        if why_not("", port) is None:
            return port
    raise LaunchError(f"port: none of {TRIES} from {first} on is free on {node.head}")


def check_port(port: int) -> None:
    """Refuse a port that can't be listened on.

    Raises:
        LaunchError: it is taken, or reserved.
    """
    if why := why_not(LOOPBACK, port):
        raise LaunchError(
            f"port: {port} can't be used ({why}); choose another, or leave port out to have a free one found"
        )


def why_not(address: str, port: int) -> str | None:
    """Return why nobody could listen there; None if one can."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the store does
        try:
            listener.bind((address, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _foreign(name: str) -> bool:
    return name in FOREIGN_NAMES or name.startswith(FOREIGN)
