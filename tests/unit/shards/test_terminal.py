"""Ctrl-C, and output that can't be written; tests/integration/test_terminal.py has whole processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards import terminal
from shards.terminal import Output


@pytest.fixture
def handler() -> Iterator[None]:
    """Leave the handler of Ctrl-C as it was."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def unread() -> Iterator[Output]:
    """A stream that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with Output(os.fdopen(writer, "wb"), line_buffering=True) as stream:
        yield stream


def test_what_nobody_reads_ends_a_command(unread: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        unread.write("a line\n")
    assert ended.value.code == 128 + signal.SIGPIPE
    unread.write("another\n")  # nothing is left to raise while the command ends


def test_a_full_disk_ends_a_command_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115
    with Output(full, line_buffering=True) as stream, pytest.raises(SystemExit) as ended:
        stream.write("a line\n")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "stdout: No space left on device\n"


def test_a_command_that_trains_goes_on_and_says_so_once(
    unread: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    unread.goes_on = True
    for _ in range(3):
        assert unread.write("a line\n") == 7
        unread.flush()
    assert capsys.readouterr().err == "stdout: Broken pipe; going on without it\n"


@pytest.mark.usefixtures("handler")
def test_one_press_interrupts_once_and_leaving_is_not_interrupted() -> None:
    signal.signal(signal.SIGINT, terminal._end)
    terminal.interruptible()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # a second one, within a second of it
    terminal.leave()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("handler")
def test_who_ignores_ctrl_c_is_left_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminal.interruptible()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_command_unwinds_it_unless_it_is_ignored(number: signal.Signals) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(number, signal.SIG_IGN)  # by nohup, before the command begins
        terminal.unwind_when_ended()
        signal.raise_signal(number)
        signal.signal(number, signal.SIG_DFL)
        terminal.unwind_when_ended()
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(number)
        assert ended.value.code == 128 + number
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_a_block_that_is_not_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with terminal.uninterrupted():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["/clone/launch/slurm.py", "+exp=x"], "launch/slurm.py"),
        (["dnw submit", "+exp=x"], "dnw submit"),
    ],
)
def test_the_name_is_what_was_typed(monkeypatch: pytest.MonkeyPatch, words: list[str], name: str) -> None:
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delattr(sys.modules["__main__"], "__spec__", raising=False)
    assert terminal.name() == name


def test_the_name_of_a_module_that_is_being_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-m", "+exp=x"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "dnw.evaluate", "x"])
    assert terminal.name() == "dnw.evaluate"
