"""torchrun's agent of one node, made to stop well: `python -m launch.node.agent <arguments of torchrun>`.

Plain torchrun dies of USR2, forgets its workers when a second signal arrives while it waits for them, lives
on when the job that started it was killed, and ends with a traceback of its own in each case. A cluster
sends several signals, to every process of a job, and in any order. Here each reason to stop becomes the one
SIGINT that torchrun forwards to its workers, after which it waits for them as long as they were granted.

Workers are forked from what has imported all that they need: once a node instead of once a worker. It has
no threads (launch/node/fork_server.py), and it has not asked for CUDA: what is forked from a process that
merely counted GPUs can't use one. torchrun's configuration does ask, so it is made once the fork server is
there.
"""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from dnw.preemption import (
    PEER_FAILED,
    SIGNALS,
    STOPPED,
    TIME_IS_UP,
    StopRequest,
    follow,
    follow_parent,
    name_process,
    signal_name,
)
from dnw.training.watchdog import HUNG
from launch.node import container, fork_server, meeting
from launch.node.peer_failure import PeerFailedError, Peers
from shards import terminal

KILLED = 128  # plus the signal's number, as shells have it
CONSEQUENCE_S = 1.0  # torchrun looks ten times a second, and reports the first worker that it finds ended


class StopOnce:
    """A signal handler that passes on the first signal as SIGINT, and swallows all that follow.

    Before there are workers it ends this process, with code 75: a library that is being imported may swallow
    an exception, and is half there from then on (numpy was, which torch imports).
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self.asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal; the interpreter calls this."""
        if not self._peers.has_begun:
            os._exit(STOPPED)
        if not self.asked:
            self.asked = True
            signal.raise_signal(signal.SIGINT)


def main(arguments: list[str]) -> int:
    """Run the workers of this node.

    Returns:
        0 if all workers did; 75 if this agent or a worker was asked to stop; 128 + signal if a signal killed
        a worker; 70 if the watchdog of one has ended it; 68, 69 or 71 if the nodes could not meet
        (launch/node/meeting.py); else 1, which it is too where another node failed.
    """
    peers = Peers()
    signal.signal(PEER_FAILED, peers)
    for number in TIME_IS_UP:  # meant for the workers, which get it, too
        signal.signal(number, signal.SIG_IGN)
    stop = StopOnce(peers)
    for number in (signal.SIGINT, signal.SIGTERM):  # torchrun takes SIGINT over as it starts workers
        signal.signal(number, stop)
    try:
        if container.MARK not in os.environ:
            follow_parent(_job(), signal.SIGTERM)
        return _run(arguments, peers)
    except PeerFailedError:
        print("another node has failed: not waiting for it", file=sys.stderr)
        return 1
    except meeting.UnfitError as error:
        print(error, file=sys.stderr)
        return error.code


def _run(arguments: list[str], peers: Peers) -> int:
    logging.disable(logging.ERROR)  # torchrun's: a stop that was asked for, and what `_report` says better
    module, folder = arguments[arguments.index("-m") + 1 :][:2]
    gc.disable()  # what is imported stays: to look through it again and again is a sixth of the time
    meeting.load(module)
    if (preload := getattr(sys.modules[module], "preload", None)) is not None:
        preload(Path(folder))
    from torch.distributed import run  # noqa: PLC0415  (launch imports no torch on the login node)
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.elastic.rendezvous.api import RendezvousError  # noqa: PLC0415
    from torch.distributed.launcher.api import elastic_launch  # noqa: PLC0415

    try:
        asked = run.parse_args(arguments)
        gc.freeze()  # nor do workers look through it, which would copy the memory that they share
        gc.enable()
        fork_server.begin()
        if container.MARK in os.environ:  # a thread, so not before the fork server
            follow((_job(), os.getppid()), signal.SIGTERM)
        peers.follow()
        meeting.check_driver()
        peers.wait()
        address, _, port = asked.rdzv_endpoint.rpartition(":")
        if "is_host=false" in asked.rdzv_conf:
            meeting.reach(address.strip("[]"), int(port))
        else:
            meeting.check_port(int(port))
        config, _, _ = run.config_from_args(asked)  # asks for CUDA, which answers by now
        elastic_launch(config, work)(asked.training_script, *asked.training_script_args)
    except SignalException:
        return STOPPED
    except ChildFailedError as error:
        if peers.failed_elsewhere:
            print("a worker of another node has failed: ended those of this one", file=sys.stderr)
        return _report(error.failures)
    except RendezvousError as error:
        if peers.has_begun:  # the node that holds the store has gone; its own job says more
            print(f"the first node is gone: {error}", file=sys.stderr)
            return 1
        raise meeting.UnfitError(meeting.UNMET, f"not all nodes have come: {error}") from None
    return 0


def _job() -> int:
    return int(os.environ.get("DNW_JOB_PID", os.getppid()))


def work(module: str, *arguments: str) -> None:
    """Run a forked worker: `main(arguments, stop)` of a module that is imported already.

    Raises:
        SystemExit: that returned something else than 0, or failed.
    """
    logging.disable(logging.NOTSET)
    # DataLoader workers are forked from this rank, so that they get its parent-death signal
    multiprocessing.set_start_method("fork", force=True)
    name_process(f"dnw rank {os.environ['RANK']}")
    stop = StopRequest()
    stop.listen()
    stop.end_with_peers(CONSEQUENCE_S)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        code = importlib.import_module(module).main(list(arguments), stop)
    except Exception:
        traceback.print_exc()
        code = 1
    if code not in {0, STOPPED}:
        stop.wait(CONSEQUENCE_S)  # another worker's end may be the cause: torchrun shall see that first
    if code:
        sys.exit(code)


def _report(failures: Mapping[int, Any]) -> int:
    """Say which worker failed; its own words stand above. Returns this agent's exit code."""
    rank, failure = next(iter(failures.items()))
    if failure.exitcode == STOPPED:  # it was asked to stop itself, and all stopped with it
        return STOPPED
    number = -int(failure.exitcode)
    how = f"was killed by {signal_name(number)}" if number > 0 else f"ended with exit code {-number}"
    print(f"worker of rank {rank} (process {failure.pid}) {how}", file=sys.stderr)
    if number > 0:
        return KILLED + number
    return HUNG if number == -HUNG else 1


if __name__ == "__main__":
    terminal.begin()
    terminal.go_on_without_output()
    ended = main(sys.argv[1:])
    fork_server.end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)  # taking the interpreter down takes half a second, of a grace time perhaps
