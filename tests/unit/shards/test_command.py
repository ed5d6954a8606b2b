"""How a command ends: its exit code, and the line that is printed in place of a traceback."""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from shards import command
from shards.errors import ExpectedError, did_you_mean


def ends(error: BaseException) -> None:
    raise error


def test_values() -> None:
    assert [command.count("0"), command.positive("1"), command.port("6006")] == [0, 1, 6006]
    assert math.isclose(command.seconds("0.5"), 0.5)
    assert command.amount("0") == 0


def test_home_is_put_in_where_the_shell_has_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in --data=~/x."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert command.path("~/x") == tmp_path / "x"
    assert command.name("x/~y$") == "x/~y$"
    for text, told in (("~nobody1/x", "no home folder is known"), ("$HOME/x", r"\$HOME is left as it is")):
        with pytest.raises(argparse.ArgumentTypeError, match=told):
            command.path(text)
    (tmp_path / "$HOME").mkdir()
    assert command.path("$HOME") == Path("$HOME")


@pytest.mark.parametrize("text", ["0", "65536", "-1", "²", "1.5", ""])
def test_no_port(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 65535"):
        command.port(text)


def test_the_exit_code_is_that_of_the_function() -> None:
    assert command.run(lambda: None) == 0
    assert command.run(lambda: 3) == 3
    assert command.answers(failed=2)(int)(7) == 7


def test_an_expected_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(lambda: ends(ExpectedError("what to do")), failed=2, prefix="here: ") == 2
    assert capsys.readouterr().err == "here: what to do\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        command.run(lambda: 1 // 0)


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(lambda: ends(KeyboardInterrupt()), prefix="write: ", stopped=command.AGAIN) == 130
    assert capsys.readouterr().err == f"write: stopped by Ctrl-C. {command.AGAIN}\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x.tar"),
            "x.tar: No such file or directory",
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (
            BrokenProcessPool(),
            "a worker process was killed, perhaps for want of memory: try fewer --workers",
        ),
        (OSError(errno.ECONNREFUSED, "refused"), None),
        (ValueError("x"), None),
    ],
    ids=["file", "disk", "worker", "network", "fault"],
)
def test_what_an_error_is_told_as(error: Exception, line: str | None) -> None:
    assert command.explain(error) == line


def test_all_commands_parse_alike() -> None:
    """No abbreviations, the nearest word, no empty names."""
    root = Path(__file__).resolve().parents[3]
    for path in (path for part in ("dnw", "launch", "shards") for path in (root / part).rglob("*.py")):
        if path.name != "command.py":
            assert re.search(r"argparse\.ArgumentParser\(|type=Path\b", path.read_text()) is None, path


def test_only_what_is_full_asks_for_room() -> None:
    assert [command.is_full(OSError(number, "")) for number in (errno.ENOSPC, errno.EDQUOT)] == [True, True]
    assert not command.is_full(OSError(errno.EACCES, ""))


def test_the_nearest_word() -> None:
    assert did_you_mean("nativ", ["native", "csr"]) == "; did you mean native?"
    assert did_you_mean("x", ["native", "csr"]) == ""
