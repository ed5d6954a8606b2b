"""A process without threads, from which the workers of a node are forked.

What a lock guards that another thread holds while a process is forked stays locked in the child for ever.
torchrun's agent has such threads: one serves the store where all workers meet, and looks up the name of each
that connects, the first workers among them while the last are being forked. In four of eight attempts with
eight workers, forked from the agent itself on two cores, one waited without end for the C library's resolver.

multiprocessing's fork server is made for this. As it comes it is a new interpreter, which would import torch
once more; here it is a fork of the agent, from before that has threads and after it has imported everything.
It is told so in places that Python 3.11 to 3.13 have; in 3.14 its clients need a key.
"""

from __future__ import annotations

import os
import signal
import socket
from multiprocessing import connection, forkserver, util
from typing import Any

from dnw.preemption import PEER_FAILED, SIGNALS, follow_parent, name_process

NAME = "dnw fork server"


def begin() -> None:
    """From now on "forkserver" processes are forks of this process as it is now.

    They begin with SIGNALS and PEER_FAILED blocked: one that comes before they listen is not lost.
    """
    server: Any = forkserver._forkserver
    with socket.socket(socket.AF_UNIX) as listener:
        address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
        listener.bind(address)  # in a folder that no other user may enter
        listener.listen()
        alive, kept = os.pipe()
        agent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, PEER_FAILED))
        process = os.fork()
        if not process:
            os.close(kept)
            _serve(listener, alive, agent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(alive)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, kept, process


def end() -> None:
    """Remove what is left of it in the file system, for a process that is about to call os._exit."""
    util._run_finalizers()  # type: ignore[attr-defined]


def _serve(listener: socket.socket, alive: int, agent: int) -> None:
    """Fork whoever is asked for, until the agent is gone."""
    name_process(NAME)
    follow_parent(agent, signal.SIGKILL)
    os.environ["DNW_PARENT_PID"] = str(os.getpid())  # the parent that workers end with
    try:
        forkserver.main(listener.detach(), alive, [])
    finally:
        os._exit(0)
