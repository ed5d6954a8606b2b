"""The self-test on this machine: red for faults that are put in, stopped and gone on with, told of."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from containers import contained
from self_test import WHY, Here, states, the_run, told, typed, unexplained
from worker import ROOT

from dnw.runs import ledger
from launch.self_test.checks import CHECKS, NAMES

ON_TWO = ["nproc=2", "data.workers=0"]
HERE_TOO = [
    name for name in NAMES if not name.startswith("across")
]  # the others: tests/slurm/test_self_test.py
# Each way to put in a fault: a setting, a fault of a worker at two points, one of what is measured. The other
# measurements: tests/unit/dnw/self_test; all checks on two nodes: tests/slurm/test_self_test.py with -m soak.
RED = ["resumed_fp32", "stopped_step", "stopped_evaluation", "nodes"]
TRAININGS = {  # checks of trainings alone, and the case that the fault of each changes
    "repeated_static": "static-again",
    "exact": "exact-2",
    "across_fast": "one-node",
    "across_exact": "exact-2-nodes",
}


def listed(names: list[str]) -> str:
    return f"[{','.join(names)}]"


@pytest.mark.timeout(1200)
def test_stopped_it_goes_on_and_finds_the_faults_that_are_put_in(tmp_path: Path) -> None:
    """None hides another. What was trained before the stop is kept."""
    notice = tmp_path / "notice"
    asked = [f"self_test.only={listed([*RED, 'across_exact'])}", f"self_test.faults={listed(RED)}"]
    words = [*ON_TWO, *asked, "cluster.grace_s=4", f"notify.command='cat > {notice}'"]
    line = [sys.executable, str(ROOT / "launch" / "local.py"), "+exp=self_test", *words]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started:
        deadline = time.monotonic() + 600
        while not list(tmp_path.glob("runs/self_test/*/cases/whole-fp32.1/claims/001")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        started.send_signal(signal.SIGTERM)
        out, _ = started.communicate(timeout=300)
    assert started.returncode == 75, out
    assert b"stopped on request, 0 of 5 checks made; the same command goes on" in out
    run = the_run(tmp_path)
    kept = (run.folder / "cases" / "killed-fp32.1" / "result.json").stat().st_mtime_ns
    code, printed = typed("local", tmp_path, {}, *words)
    assert states(run) == {**dict.fromkeys(RED, "failed"), "across_exact": "not here"}, printed + told(run)
    assert unexplained(run) == {}
    assert (run.folder / "cases" / "killed-fp32.1" / "result.json").stat().st_mtime_ns == kept
    assert [attempt.reason for attempt in ledger.read(run)] == ["stopped", "error"]
    assert code == 1
    assert not run.result.exists()
    assert "0 passed, 4 failed, 1 not here" in printed
    assert "one node: nodes=2 would make it two" in printed
    assert "**failed**" in (run.folder / "self_test.md").read_text()
    heard = json.loads(notice.read_text())
    assert heard["event"] == "failed"
    assert heard["detail"] == f"4 of 5 checks failed: {', '.join(RED)}"


def test_trainings_that_differ_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    """On one process; that so do several is in tests/integration/test_exact.py and tests/slurm."""
    bench = Here.of_two(tmp_path)
    make = {check.name: check.make for check in CHECKS}
    assert {name: make[name](bench, False).state for name in TRAININGS} == dict.fromkeys(TRAININGS, "passed")
    for case in TRAININGS.values():
        bench.forget(case)
    for name in TRAININGS:
        found = make[name](bench, True)
        assert (found.state, bool(re.search(WHY[name], found.figure))) == ("failed", True), found


@pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="bubblewrap is not installed")
def test_in_a_container_that_lacks_something_it_says_what(tmp_path: Path) -> None:
    """So its cases do run there."""
    image, runtime = contained.image(tmp_path / "image", packages=False), contained.runtime(tmp_path / "bin")
    path = {"PATH": f"{runtime}{os.pathsep}{os.environ['PATH']}"}
    code, printed = typed("local", tmp_path, path, *ON_TWO, f"cluster.container={image}")
    assert code == 1, printed
    assert f"self-test broken off: measure-machine.1: {image}: its python3 lacks torch, " in printed
    assert "Traceback" not in printed


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_of_it_passes_here(tmp_path: Path) -> None:
    code, printed = typed("local", tmp_path, {}, *ON_TWO)
    expected = {name: "passed" if name in HERE_TOO else "not here" for name in NAMES}
    assert states(the_run(tmp_path)) == expected, f"{printed}\n{told(the_run(tmp_path))}"
    assert code == 0
