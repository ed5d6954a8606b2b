"""Stop requests in a worker: a signal is recorded here, and acted on between two steps."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType

STOPPED = 75  # a worker's exit code: stopped on request after saving, start me again (EX_TEMPFAIL)
TIME_IS_UP = (signal.SIGUSR2, signal.SIGUSR1)  # ours, and what other programs have Slurm or their users send
SIGNALS = (signal.SIGTERM, signal.SIGINT, *TIME_IS_UP)
PEER_FAILED = signal.SIGRTMIN  # to workers: one of you has failed; or from its job to the agent
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # <linux/prctl.h>


def signal_name(number: int) -> str:
    """Return what a signal is called; most of the real-time ones have but a number."""
    return next((one.name for one in signal.Signals if one == number), f"signal {number}")


class StopRequest:
    """Which signal asked this process to stop, if any did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.saving = threading.Lock()  # held by whoever puts a checkpoint on the disk

    def listen(self) -> None:
        """Record SIGNALS from now on."""
        for number in SIGNALS:
            signal.signal(number, self._record)

    def end_with_peers(self, after_s: float) -> None:
        """End this process once PEER_FAILED, which has to be blocked, has come; the main thread may be in C.

        What is being saved is saved first. `after_s` is left to an exception that is on its way up: it may be
        the cause of it all, and is worth noting.
        """

        def end() -> None:
            signal.sigwait({PEER_FAILED})
            time.sleep(after_s)
            with self.saving:
                os._exit(1)

        threading.Thread(target=end, name="peers", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Return when a signal has come, after so many seconds at the latest."""
        until = time.monotonic() + seconds
        while not self.received and time.monotonic() < until:
            time.sleep(0.01)

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)

    @property
    def received(self) -> bool:
        """Whether any signal came."""
        return self.signal is not None


def leave_signals_to_parent(_worker: int = 0) -> None:
    """Ignore the signals in a helper process: Slurm sends them to every process of a job.

    It ends with its parent, by the kernel's hand. Left over it would keep open what it inherited, a pipe by
    which the agent sees a worker's death among it, until it looks for its parent, every 5 seconds.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    follow_parent(os.getppid(), signal.SIGKILL)


def end_children() -> None:
    """Kill helper processes: they ignore the SIGTERM with which Python would end, and then await, them.

    From then on nobody is told of their death: torch's handler would raise an exception in whatever runs.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()


def die_with_parent() -> None:
    """Have the kernel kill this worker when its agent is gone: no orphan goes on writing."""
    follow_parent(int(os.environ.get("DNW_PARENT_PID", os.getppid())), signal.SIGKILL)


def follow_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent is gone, or now if it is already.

    Args:
        parent: the process that started this one.
        number: what is sent.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the kernel was told
        signal.raise_signal(number)


def follow(processes: Iterable[int], number: signal.Signals) -> None:
    """Send this process a signal when one of these is gone: those that aren't its parent, but as good as.

    It takes a thread, and that they are numbered as this process numbers its own.
    """
    descriptors = []
    for process in processes:
        try:
            descriptors.append(os.pidfd_open(process))
        except ProcessLookupError:  # it died before this
            os.kill(os.getpid(), number)

    def wait() -> None:
        select.select(descriptors, [], [])
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, name="follow", daemon=True).start()


def name_process(name: str) -> None:
    """Have `ps -o comm` and `top` show this process under a name of at most 15 characters."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
