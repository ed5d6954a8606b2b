"""Logs of several nodes as one, what stands first, and following them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_folder import Slurm, finish, make, note, slurm, submit

from dnw.runs.folder import Run
from launch.commands import logs
from launch.errors import LaunchError

ROOT = Path(__file__).resolve().parents[4]
NOW = time.time()
TRACEBACK = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    main()

RuntimeError: broken
"""


def at(second: int, text: str) -> str:
    return f"2026-11-23 01:14:{second:02d},123  {text}\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    slurm(tmp_path, monkeypatch)
    return make(tmp_path / "runs")


def begin(run: Run, attempt: int, hosts: list[str], begun: float = NOW) -> None:
    note(run, attempt, "claim", begun, job="7", restart=0, host=hosts[0], hosts=hosts, pid=1)


def shown(run: Run, capsys: pytest.CaptureFixture[str], attempt: int | None = None, lines: int = 0) -> str:
    assert logs.show(run, attempt, lines, follow=False) == 0
    return capsys.readouterr().out


def test_lines_of_two_nodes_in_order_of_time(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    begin(run, 2, ["n1", "n7"])
    run.log(2, 0).write_text("warning\n" + at(1, "a") + "of a\n" + at(4, "d"))
    run.log(2, 1).write_text(at(2, "b") + at(3, "c") + "of c")
    head, *lines = shown(run, capsys).splitlines()
    assert "logs/002-0.log, logs/002-1.log" in head
    assert [(line[:5], line.split()[-1]) for line in lines] == [
        ("n1 | ", "warning"),
        ("n1 | ", "a"),
        ("n1 | ", "a"),
        ("n7 | ", "b"),
        ("n7 | ", "c"),
        ("n7 | ", "c"),
        ("n1 | ", "d"),
    ]
    assert shown(run, capsys, lines=2).splitlines()[1:] == lines[-2:]


def test_one_node_needs_no_name(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    begin(run, 1, ["n1"])
    run.log(1, 0).write_text(at(1, "a"))
    assert shown(run, capsys).endswith(f"\n{at(1, 'a')}")


def test_errors_come_first_each_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    begin(run, 1, ["n1", "n2"])
    note(run, 1, "end", NOW, reason="error", detail="RuntimeError: broken", node="n2")
    prefixed = "".join(f"[rank2]: {line}\n" for line in TRACEBACK.splitlines())
    run.log(1, 0).write_text(
        at(3, "works") + TRACEBACK + "Traceback (most recent call last):\nKeyboardInterrupt\n"
    )
    run.log(1, 1).write_text(at(2, "works") + prefixed)
    head, cause, *lines = shown(run, capsys, lines=1).splitlines()
    assert "errors of attempt 1" in head
    assert cause == "error on n2: RuntimeError: broken"
    assert lines[0] == "n2 | [rank2]: Traceback (most recent call last):"
    assert lines[4:6] == ["n2 | [rank2]: RuntimeError: broken", "(1 more like it)"]
    assert "last 1 of 14 lines" in lines[6]
    assert len(lines) == 8


def test_an_attempt_that_stopped_on_request_has_no_errors(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(run, 1, ["n1"])
    note(run, 1, "end", NOW, reason="stopped", step=3)
    run.log(1, 0).write_text("Traceback (most recent call last):\n  File\nKeyboardInterrupt\n")
    assert "errors" not in shown(run, capsys)


def test_chosen_attempts(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    begin(run, 1, ["n1"])
    begin(run, 2, ["n1"])
    run.log(1, 0).write_text(at(1, "first"))
    run.log(2, 0).write_text(at(2, "second"))
    assert "second" in shown(run, capsys)
    assert "first" in shown(run, capsys, attempt=1)
    for wrong in (0, 3):
        with pytest.raises(LaunchError, match=rf"no logs of attempt {wrong}; there are those of: 1, 2$"):
            logs.show(run, wrong, 0, follow=False)


def test_what_a_job_printed_that_came_to_no_workers(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LaunchError, match="nothing has been printed yet"):
        logs.show(run, None, 0, follow=False)
    begin(run, 1, ["n1"])
    run.log(1, 0).write_text(at(1, "an older attempt"))
    begin(run, 2, ["n1"])
    folder = Path(submit(run, "7_1").folder)
    (folder / "7_1_0_log.err").write_text("ModuleNotFoundError: dnw\n")
    (folder / "7_1_0_log.out").write_text("")
    (folder / "7_10_0_log.err").write_text("of another run in this array\n")
    assert shown(run, capsys).splitlines()[1:] == ["ModuleNotFoundError: dnw"]


@pytest.fixture
def following(run: Run, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `logs -f` in a process of its own."""
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-u", str(ROOT / "launch" / "runs.py"), "logs", "-f", *words, str(run.folder)]
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def submitted_here(run: Run) -> Iterator[None]:
    """A local controller of the run is at work."""
    line = ["/bin/sh", "-c", "read -r _", str(run.slurm / "1")]
    with subprocess.Popen(line, stdin=subprocess.PIPE) as controller:
        submit(run, str(controller.pid), "local", at=NOW - 9)
        yield


def read_to(process: subprocess.Popen[str], text: str) -> list[str]:
    """The lines that it prints up to one that holds `text`."""
    assert process.stdout is not None
    found = []
    for line in process.stdout:
        found.append(line.rstrip("\n"))
        if text in line:
            return found
    raise AssertionError(f"never printed {text!r}: {found}")


@pytest.mark.timeout(60)
def test_following_from_attempt_to_attempt_to_the_end(
    run: Run, following: Callable[..., subprocess.Popen[str]]
) -> None:
    with submitted_here(run):
        begin(run, 1, ["here"])
        run.log(1, 0).write_text(at(1, "one"))
        process = following()
        read_to(process, "one")
        with run.log(1, 0).open("a") as log:
            log.write(at(2, "two"))
        read_to(process, "two")
        with run.log(1, 0).open("a") as log:
            log.write(at(3, "the last of it"))
        begin(run, 2, ["here"])
        run.log(2, 0).write_text(at(4, "again"))
        told = read_to(process, "again")
        assert "the last of it" in told[0]
        assert "attempt 2" in told[1]
        with run.log(2, 0).open("a") as log:
            log.write("done, no newline")
        finish(run)
        assert [line.strip("─ ") for line in read_to(process, "finished")] == [
            "done, no newline",
            f"{run.name}: finished",
        ]
        assert process.wait(timeout=20) == 0


@pytest.mark.timeout(60)
def test_following_ends_where_nobody_is_at_work(
    run: Run, following: Callable[..., subprocess.Popen[str]]
) -> None:
    begin(run, 1, ["here"])
    note(run, 1, "end", NOW, reason="killed", detail="by SIGKILL")
    run.log(1, 0).write_text(at(1, "one"))
    process = following()
    assert read_to(process, "failed")[-1].strip("─ ") == f"{run.name}: failed (killed: by SIGKILL)"
    assert process.wait(timeout=20) == 0


@pytest.mark.timeout(60)
def test_following_a_run_that_waits(
    run: Run, tmp_path: Path, following: Callable[..., subprocess.Popen[str]]
) -> None:
    one = submit(run, "7", at=NOW - 9)
    cluster = Slurm(tmp_path / "lab")
    cluster.says("squeue", f"7|PENDING|Priority||low|{NOW:.0f}|N/A|{one.folder}/job.sh\n")
    process = following()
    assert "queued (Priority); waiting for the next attempt" in read_to(process, "waiting")[0]
    begin(run, 1, ["here"])
    run.log(1, 0).write_text(at(1, "one"))
    assert [line.strip("─ ") for line in read_to(process, "one")] == ["attempt 1", at(1, "one").strip()]


@pytest.mark.timeout(60)
def test_ctrl_c_ends_it_in_one_line(run: Run, following: Callable[..., subprocess.Popen[str]]) -> None:
    with submitted_here(run):
        begin(run, 1, ["here"])
        run.log(1, 0).write_text(at(1, "one"))
        process = following()
        read_to(process, "one")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert (rest, process.returncode) == ("launch/runs.py: stopped by Ctrl-C\n", 130)
