"""status --watch on a terminal of its own: a process at a pty, resized, suspended and interrupted."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from documents import wait_for
from run_folder import make

from dnw.console import PlainConsole
from launch.commands import watch

ROOT = Path(__file__).resolve().parents[4]
ENTERS, LEAVES, SHOWS_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """What a process at a pty has printed, and how large its window is."""

    def __init__(self, process: subprocess.Popen[bytes], side: int) -> None:
        self.process, self.side, self.text = process, side, b""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, key: bytes) -> None:
        os.write(self.side, key)

    def has(self, words: bytes) -> bool:
        while select.select([self.side], [], [], 0)[0]:
            try:
                self.text += os.read(self.side, 65536)
            except OSError:  # its end was closed
                break
        return words in self.text

    def forget(self) -> None:
        self.has(b"")
        self.text = b""


@contextmanager
def watching(folder: Path, lines: int = 24, columns: int = 100, **changes: str) -> Iterator[Terminal]:
    side, other = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    words = [
        sys.executable,
        str(ROOT / "launch" / "runs.py"),
        "status",
        "--watch",
        "600",
        "--runs-dir",
        "runs",
    ]
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    prepare = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731
    with subprocess.Popen(
        words,
        stdin=other, stdout=other, stderr=other, cwd=folder, env={**own, "TERM": "xterm", **changes},
        start_new_session=True, preexec_fn=prepare,  # noqa: PLW1509
    ) as process:  # fmt: skip
        os.close(other)
        try:
            yield Terminal(process, side)
        finally:
            process.kill()
            os.close(side)


def is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_window_is_redrawn_when_its_size_changes_and_left_clean(tmp_path: Path) -> None:
    for number in range(30):
        make(tmp_path / "runs", f"default-{number:010}")
    with watching(tmp_path) as seen:
        wait_for(lambda: seen.has(b"until Ctrl-C"))
        assert ENTERS in seen.text
        assert b"and 1" in seen.text  # some don't fit
        assert seen.text.count(b"example/") < 24
        seen.forget()
        seen.resize(60, 200)
        wait_for(lambda: seen.has(b"until Ctrl-C"))  # at once, not after ten minutes
        assert seen.text.count(b"example/") == 30
        seen.forget()
        seen.press(b"\x1a")  # Ctrl-Z
        wait_for(lambda: is_stopped(seen.process.pid))
        assert seen.has(LEAVES)
        seen.forget()
        os.kill(seen.process.pid, signal.SIGCONT)
        wait_for(lambda: seen.has(b"until Ctrl-C"))
        seen.forget()
        seen.press(b"\x03")  # Ctrl-C
        wait_for(lambda: seen.has(b"") and seen.process.poll() is not None)
        assert seen.process.wait(120) == 0
        assert seen.has(LEAVES)
        assert seen.has(SHOWS_CURSOR)
        assert seen.text.partition(LEAVES)[2].count(b"example/") == 30  # stays to be read


def test_a_terminal_gets_its_screen_back_when_the_command_is_ended(tmp_path: Path) -> None:
    make(tmp_path / "runs")
    with watching(tmp_path, 12, 30) as seen:
        wait_for(lambda: seen.has(ENTERS) and seen.has(b"exam"))
        os.kill(seen.process.pid, signal.SIGTERM)
        assert seen.process.wait(120) == 128 + signal.SIGTERM
        assert seen.has(LEAVES)
        assert seen.has(SHOWS_CURSOR)
        assert b"Traceback" not in seen.text


def test_a_terminal_without_a_cursor_is_printed_on(tmp_path: Path) -> None:
    make(tmp_path / "runs")
    with watching(tmp_path, TERM="dumb") as seen:
        wait_for(lambda: seen.has(b"example/"))
        seen.press(b"\x03")
        assert seen.process.wait(120) == 0
        assert b"\x1b" not in seen.text


def test_colours_asked_for_make_no_terminal_of_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        assert PlainConsole().is_terminal
        assert not watch.can_redraw(PlainConsole())


def test_nothing_is_acted_on_after_ctrl_c() -> None:
    times: list[float] = []

    def act() -> None:
        times.append(time.monotonic())
        if len(times) == 3:
            raise KeyboardInterrupt

    watch.repeat(act, 0.01)
    assert len(times) == 3
