"""The terminal of a command: Ctrl-C, and standard streams that are closed, full, or read by nobody.

`begin` is called before anything slow is imported. From then on Ctrl-C ends the command with one line and
exit code 130, wherever it is; and a stdout that can't be written ends a command that only prints, as `| head`
means it to, while one that trains or submits goes on without.

Before that Python itself starts, for about 0.1 s, in which Ctrl-C ends it with Python's own traceback, and
nothing is begun yet: no line of the project has run, so none can catch it.

Needs nothing but the standard library of Python 3.8 and later, since it is imported before that is checked.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import time

TYPE_CHECKING = False  # what is imported before `begin` has run is not protected by it, so it is little
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import TextIO

INTERRUPTED = 128 + signal.SIGINT
UNREAD = 128 + signal.SIGPIPE  # exit code of a command whose output nobody reads any more
UNWRITTEN = 1  # of one whose output can't be written
ONE_PRESS_S = 1.0  # a second Ctrl-C within this is taken for the first one
_STDERR = 2


class Output(io.TextIOWrapper):
    """A standard stream that doesn't raise where it can't be written.

    Attributes:
        goes_on: whether the command goes on without it; else it ends the command.
    """

    goes_on = False
    _is_lost = False

    def write(self, text: str) -> int:
        """Write; see the class.

        Raises:
            SystemExit: it can't be written, and the command doesn't go on without it.
        """
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush; raises as `write`."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        told, self._is_lost = self._is_lost, True
        if (
            error.errno not in {errno.ENOSPC, errno.EDQUOT} or not self.goes_on
        ):  # on a disk there may be room again
            _discard(self.fileno())
        if self.fileno() == _STDERR:
            return  # nobody is left to tell
        if not self.goes_on:
            if error.errno == errno.EPIPE:
                raise SystemExit(UNREAD)
            print(f"stdout: {error.strerror}", file=sys.stderr)
            raise SystemExit(UNWRITTEN)
        if not told:
            print(f"stdout: {error.strerror}; going on without it", file=sys.stderr)


def begin() -> None:
    """Take over Ctrl-C and the standard streams of this process; a second call changes nothing."""
    if isinstance(sys.stdout, Output):
        return
    _open_closed()
    if sys.stdin is None:  # it was closed
        sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))  # type: ignore[misc]
    out, err = _output(sys.stdout, 1), _output(sys.stderr, _STDERR)
    err.goes_on = True
    sys.stdout = sys.__stdout__ = out  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = err  # type: ignore[misc]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as after `&`
        signal.signal(signal.SIGINT, _end)


def go_on_without_output() -> None:
    """Have this command go on where stdout can't be written: what it does isn't what it prints."""
    if isinstance(sys.stdout, Output):
        sys.stdout.goes_on = True


def interruptible() -> None:
    """Raise KeyboardInterrupt for Ctrl-C from now on: there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _Interrupt())


def unwind_when_ended() -> None:
    """Raise SystemExit for SIGTERM and SIGHUP from now on: there is something to clean up.

    What is ignored stays so: `nohup` has a command outlive the terminal.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _unwind)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C in this block, and in processes that are started in it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave() -> None:
    """Ignore Ctrl-C from now on: there is nothing left to do."""
    if isinstance(signal.getsignal(signal.SIGINT), _Interrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def name() -> str:
    """Return how this command is typed: launch/slurm.py, dnw.evaluate."""
    script = sys.argv[0]
    if script == "-m":  # until Python has found the module
        words: list[str] = list(getattr(sys, "orig_argv", [""]))
        return words[words.index("-m") + 1] if "-m" in words[:-1] else "python -m"
    if script.startswith("dnw "):
        return script
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else "/".join(script.split("/")[-2:])


class _Interrupt:
    """Raises KeyboardInterrupt, once for a Ctrl-C that comes twice: what it set off is not interrupted."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal; the interpreter calls this."""
        now = time.monotonic()
        is_again, self._last_s = now - self._last_s < ONE_PRESS_S, now
        if not is_again:
            raise KeyboardInterrupt


def _end(_number: int, _frame: FrameType | None) -> None:
    """End the process at once, while it is importing: what is imported may swallow an exception."""
    os.write(_STDERR, f"{name()}: stopped by Ctrl-C\n".encode())
    os._exit(INTERRUPTED)


def _unwind(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _open_closed() -> None:
    """Open what is closed of the descriptors 0 to 2, or the next file that is opened becomes stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _output(stream: TextIO | None, descriptor: int) -> Output:
    if not isinstance(stream, io.TextIOWrapper):  # None, where it was closed
        return Output(open(descriptor, "wb", closefd=False), line_buffering=True)
    encoding, errors = stream.encoding, "backslashreplace"  # names are bytes, which may be no text
    by_line, at_once = stream.line_buffering, stream.write_through
    return Output(stream.detach(), encoding, errors, line_buffering=by_line, write_through=at_once)


def _discard(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
