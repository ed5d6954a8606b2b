"""Whether a node can take part in an attempt: reach the first node, and have what its workers need.

All nodes have to meet before a worker starts, so one that can't take part has the others wait. It says so at
once, by the exit code of its agent, which its job reports to the first node (launch/node/job.py).
"""

from __future__ import annotations

import importlib
import socket
import time

from launch.node.timeouts import CONNECT_S, LOOK_S, UNREACHABLE_S
from launch.node.torchrun import why_not

# Exit codes of an agent, or in place of one, and of no worker: those of sysexits.h whose names come closest.
DAMAGED = 65  # EX_DATAERR: the code that the run keeps is damaged, which is no fault of a node
UNREACHED = 68  # EX_NOHOST: the first node can't be reached from here
LACKING = 69  # EX_UNAVAILABLE: what workers need is missing here
UNMET = 71  # EX_OSERR: not all nodes came in time
UNFIT = frozenset({UNREACHED, LACKING})

OURS = frozenset({"launch", "dnw", "shards", "hydra_plugins"})


class UnfitError(RuntimeError):
    """This node can't take part; the message says why, `code` is the agent's exit code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def load(module: str) -> None:
    """Import the module that workers run, and torch before it.

    Raises:
        UnfitError: torch, or another library, is missing or broken on this node.
        Exception: what the run's own code raises, which is no fault of the node.
    """
    try:
        importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a shared library that it loads
        raise UnfitError(LACKING, f"torch can't be imported: {error}") from None
    try:
        importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in OURS | {""}:
            raise
        raise UnfitError(LACKING, f"{error.name} can't be imported: {error}") from None


def check_driver() -> None:
    """Ask CUDA whether there is a GPU: torchrun is going to, for as long as it takes.

    Raises:
        UnfitError: it gives no answer.
    """
    import torch  # noqa: PLC0415  (launch imports no torch on the login node)

    from dnw.hardware.device import SilentError, in_time  # noqa: PLC0415  (imports torch)

    try:
        in_time(torch.cuda.is_available)
    except SilentError as error:
        raise UnfitError(LACKING, f"{error}: its driver hangs") from None


def check_port(port: int) -> None:
    """Refuse a port that somebody has taken since it was found free.

    torchrun would take what listens there for the store of its own job, in which nobody else ever comes.

    Raises:
        UnfitError: nobody can listen there; the next attempt finds another port.
    """
    if why := why_not("", port):
        raise UnfitError(LACKING, f"port {port} was taken meanwhile: {why}")


def reach(address: str, port: int) -> None:
    """Wait until the first node listens.

    Raises:
        UnfitError: no way leads there for UNREACHABLE_S, or nobody answers for CONNECT_S.
    """
    began_s = time.monotonic()
    while True:
        try:
            with socket.create_connection((address, port), timeout=LOOK_S):
                return
        except OSError as error:  # refused: it doesn't listen yet
            late = isinstance(error, ConnectionRefusedError | TimeoutError)
            if time.monotonic() - began_s > (CONNECT_S if late else UNREACHABLE_S):
                why = error.strerror or str(error)
                raise UnfitError(UNREACHED, f"can't reach {address}, port {port}: {why}") from None
        time.sleep(LOOK_S / 10)
