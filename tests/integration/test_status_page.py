"""runs.py serve as a browser shows it, and every command that docs/status.md shows."""

from __future__ import annotations

import html
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from integration.browser import BROWSER, look, serving
from run_folder import finish, log, make, note, submit
from slurm import packages
from worker import ROOT

from dnw.runs.folder import Run
from launch.commands.serve.snapshot import identified

pytestmark = pytest.mark.xdist_group("status page")  # one worker makes what they share

NOW = time.time()
RUNS = 500
OWNED = "document.title='owned'"
HOSTILE = f"<script>{OWNED}<\u2215script>\"'&<img src=x onerror={OWNED}>-0123456789"
DOCUMENT = (ROOT / "docs" / "status.md").read_text()


def begun(folder: Path, name: str, exp: str, losses: list[float]) -> Run:
    """A run that was preempted, and then lost."""
    run = make(folder, name, exp)
    submit(run, "4194305", "local", at=NOW - 9000)
    note(run, 1, "claim", NOW - 8000, job="1", restart=0, host="n1", hosts=["n1", "n2"], pid=1)
    note(run, 1, "start", NOW - 7990, step=0, world=8, nodes=2, device="cuda:0")
    note(run, 1, "step", NOW - 7980, step=1)
    note(run, 1, "end", NOW - 6000, reason="stopped", cause="preempted", step=5)
    note(run, 2, "claim", NOW - 5000, job="1", restart=1, host="n1", hosts=["n1", "n2"], pid=1)
    note(run, 2, "start", NOW - 4990, step=5, world=8, nodes=2, device="cuda:0")
    for step, loss in enumerate(losses):
        log(run, step, loss=loss, attempt=1 + step // 6, time=NOW - 7970 + 300 * step)
    log(run, len(losses), "val", top1=55.5, attempt=2, time=NOW - 4000)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown") / "runs"
    for number in range(RUNS - 2):
        finish(make(folder, f"seed={number}-{number:010x}", f"exp{number % 7}"), top1=60 + number / 100)
    begun(folder, "width=0.3-00000000aa", "preempted", [2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    begun(folder, HOSTILE, "hostile", [2.0, 3.0, float("nan"), float("inf"), float("nan"), float("inf")])
    return folder


@pytest.mark.skipif(bool(packages.missing(packages.BROWSER)), reason=f"{BROWSER}: not there")
def test_the_page_shows_the_runs(runs: Path, tmp_path: Path) -> None:
    good, bad = Run(runs / "preempted" / "width=0.3-00000000aa"), Run(runs / "hostile" / HOSTILE)
    screenshot = Path(os.environ.get("DNW_SCREENSHOTS", tmp_path)) / "status.png"
    with serving("serve", runs) as address:
        whole = look(address, tmp_path / "whole.png")
        chosen = f"#sort=Val+top-1&falling&exp=exp3&run={identified(good)}&run={identified(bad)}"
        some = look(address + chosen, screenshot, "1500,1000")
    for page in (whole, some):
        assert "<title>Runs</title>" in page  # no script of a name has run
        assert "onerror" not in re.sub(r"&lt;img src=x onerror=", "", page)
    body = re.search(r"<tbody>(.*?)</tbody></table></div>", whole, re.DOTALL)[1]
    assert body.count("<tr") == RUNS
    assert html.escape(HOSTILE, quote=False) in body
    assert f"{RUNS - 2} finished" in whole
    assert some.count("<polyline") >= 2
    assert "no number (NaN or infinite) first at step 2" in some
    assert re.search(r"<td[^>]*>preempted \(stopped\)</td>", some)
    assert "8 on cuda:0" in some
    body = re.search(r'<table id="runs">.*?<tbody>(.*?)</tbody>', some, re.DOTALL)[1]
    assert set(re.findall(r">(exp\d|hostile|preempted)/", body)) == {"exp3"}
    shown = [float(value) for value in re.findall(r">(6\d\.\d\d)</td>", body)]
    assert len(shown) == len(range(3, RUNS - 2, 7))
    assert shown == sorted(shown, reverse=True)
    assert screenshot.read_bytes().startswith(b"\x89PNG")


def commands() -> list[str]:
    """The commands in the document's indented blocks, without what is said about them."""
    return [line.split("#")[0].strip() for line in re.findall(r"^    (python .*)$", DOCUMENT, re.MULTILINE)]


def test_the_document_shows_commands() -> None:
    assert {"status", "serve"} <= {shlex.split(line)[2] for line in commands()}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "runs"
    begun(folder, "width=0.3-00000000aa", "exp0", [2.0, 1.5])
    return folder


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_document(few: Path, line: str) -> None:
    """Those that go on until Ctrl-C are ended by it once they have said something."""
    words = [sys.executable, *shlex.split(line)[1:], f"--runs-dir={few}"]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        first = [process.stdout.readline() for _ in range(3)]
        if {"serve", "--watch"} & set(words):
            process.send_signal(signal.SIGINT)
        rest, err = process.stdout.read(), process.stderr.read()
    assert (process.returncode, err) == (0, "")
    assert "exp" in "".join(first) + rest or "http://127.0.0.1" in first[0]
