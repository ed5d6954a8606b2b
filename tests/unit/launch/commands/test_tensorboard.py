"""launch/runs.py tensorboard, asked over HTTP what it serves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_folder import make
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from dnw.runs.folder import Run
from launch.commands import tensorboard

ROOT = Path(__file__).resolve().parents[4]
AWKWARD = "width=0.1,data.name=a:b-0123456789"  # what TensorBoard's own option for names can't take


def curve(run: Run, tag: str) -> Run:
    """Let the run have drawn one point."""
    writer = EventFileWriter(str(run.tensorboard))
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=1.5)])
    writer.add_event(Event(step=1, wall_time=time.time(), summary=summary))
    writer.close()
    return run


@contextmanager
def serving(here: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """TensorBoard at work, and what it says first, up to how to end it."""
    (here / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "launch" / "runs.py"), "tensorboard", *words],
        cwd=here, env={**os.environ, "TMPDIR": str(here / "tmp")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            yield process, "".join(process.stdout.readline() for _ in range(3))
        finally:
            if process.poll() is None:
                process.kill()


def asked(said: str, path: str) -> Any:
    """What the server at the address that was printed answers."""
    found = re.search(r"http://127\.0\.0\.1:\d+/", said)
    assert found, said
    with urllib.request.urlopen(found[0] + path, timeout=10) as answer:
        return json.load(answer)


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGHUP, 128 + signal.SIGHUP)])
def test_all_runs_until_it_is_ended(tmp_path: Path, number: int, code: int) -> None:
    curve(make(tmp_path / "runs", AWKWARD), "train/loss")
    curve(make(tmp_path / "runs", exp="other"), "val/top1")
    make(tmp_path / "runs", "never-begun")
    with serving(tmp_path) as (process, said):
        expected = {f"example/{AWKWARD}": ["train/loss"], "other/default-0123456789": ["val/top1"]}
        wait_for(lambda: len(asked(said, "data/plugin/scalars/tags")) == 2)
        tags = asked(said, "data/plugin/scalars/tags")
        assert {run: list(of_run) for run, of_run in tags.items()} == expected
        assert set(asked(said, "data/runs")) == set(expected)
        assert said.startswith("TensorBoard of 3 runs: http://127.0.0.1:")
        assert re.search(r"ssh -L (\d+):127\.0\.0\.1:\1 \S+@\S+,", said)
        helping = children(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", "")
    assert not list((tmp_path / "tmp").iterdir())
    wait_for(lambda: not any(Path(f"/proc/{pid}/fd").exists() for pid in helping))


def test_chosen_runs_at_a_chosen_port(tmp_path: Path) -> None:
    curve(make(tmp_path / "runs"), "train/loss")
    curve(make(tmp_path / "runs", exp="other"), "val/top1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, "other", "--port", str(port)) as (process, said):
            out, err = process.communicate(timeout=30)
        refusal = (
            f"TensorBoard could not bind to port {port}, it was already in use; name another with --port\n"
        )
        assert (process.returncode, said, out, err) == (2, "", "", refusal)
    with serving(tmp_path, "other", "--port", str(port)) as (_, said):
        assert said.startswith(f"TensorBoard of 1 run: http://127.0.0.1:{port}/\n")
        wait_for(lambda: asked(said, "data/runs") == ["other/default-0123456789"])


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_no_port(port: str) -> None:
    command = [sys.executable, str(ROOT / "launch" / "runs.py"), "tensorboard", f"--port={port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"must be a number from 1 to 65535 (got {port})" in done.stderr


def test_links_follow_the_runs(tmp_path: Path) -> None:
    runs = [make(tmp_path / "runs", name) for name in ("a", "b")]
    links = tmp_path / "links"
    links.mkdir()

    def linked() -> list[str]:
        tensorboard.link(runs, links)
        return sorted(str(path.relative_to(links)) for path in links.glob("*/*"))

    assert linked() == []
    runs[0].tensorboard.mkdir()
    assert linked() == ["example/a"]
    runs[1].tensorboard.mkdir()
    assert linked() == linked() == ["example/a", "example/b"]
    assert (links / "example" / "b").resolve() == runs[1].tensorboard
    runs.pop(0)
    assert linked() == ["example/b"]
    runs[0].tensorboard.rmdir()
    assert linked() == []


def test_runs_of_one_name_from_two_places(tmp_path: Path) -> None:
    runs = [make(tmp_path / place / "runs", "a") for place in ("here", "there")]
    for run in runs:
        run.tensorboard.mkdir()
    links = tmp_path / "links"
    tensorboard.link(runs, links)
    assert (links / "there/runs/example/a").resolve() == runs[1].tensorboard
    assert (links / "here/runs/example/a").resolve() == runs[0].tensorboard
