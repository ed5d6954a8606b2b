"""The self-test on this machine: red for each fault that is put in, stopped and gone on with, told of."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from self_test import records, states, the_run, told, typed
from worker import ROOT

from dnw.runs import ledger
from launch.self_test.cases import FAMILIES
from launch.self_test.checks import NAMES

ON_TWO = ["nproc=2", "data.workers=0"]
HERE_TOO = [
    name for name in NAMES if not name.startswith("across")
]  # the others: tests/slurm/test_self_test.py
OF_OTHERS = {f"repeated_{family}" for family in FAMILIES if family != "static"}  # judged by the same code
RED = [name for name in HERE_TOO if name not in {*OF_OTHERS, "resumed_bf16"}]
WHY = {
    "trained": "cuda",
    "resumed_fp32": "killed-fp32.1 differs in",
    "repeated_static": "static-again.1 differs in",
    "exact": "exact-2.1 differs in",
    "step": "gradients 2.0e-02",
    "waiting": "aten._local_scalar_dense",
    "stopped_step": "not saved in the time granted after SIGTERM",
    "stopped_evaluation": "not saved in the time granted after SIGTERM",
    "batches": "1 of 16 micro-batches differ",
    "speed": "of a step, 1 loaders",
    "ties": "choices differ",
    "nodes": "a product of known values came out wrong",
}


def listed(names: list[str]) -> str:
    return f"[{','.join(names)}]"


@pytest.mark.timeout(1800)
def test_every_check_finds_the_fault_that_is_put_in(tmp_path: Path) -> None:
    """All of them in one run: none hides another."""
    words = [*ON_TWO, f"self_test.only={listed(RED)}", f"self_test.faults={listed(RED)}", "cluster.grace_s=4"]
    notice = tmp_path / "notice"
    code, printed = typed("local", tmp_path, {}, *words, f"notify.command='cat > {notice}'")
    run = the_run(tmp_path)
    assert states(run) == dict.fromkeys(RED, "failed"), f"{printed}\n{told(run)}"
    found = {name: f"{record.figure} {record.tolerance}" for name, record in records(run).items()}
    assert {name: text for name, text in found.items() if WHY[name] not in text} == {}
    assert code == 1
    assert not run.result.exists()
    assert "0 passed, 12 failed, 0 not here" in printed
    assert "**failed**" in (run.folder / "self_test.md").read_text()
    heard = json.loads(notice.read_text())
    assert heard["event"] == "failed"
    assert heard["detail"].startswith("12 of 12 checks failed: trained, resumed_fp32")


@pytest.mark.timeout(900)
def test_stopped_it_goes_on_and_failed_checks_are_made_again(tmp_path: Path) -> None:
    words = [*ON_TWO, "self_test.only=[repeated_static,ties,nodes,across_exact]"]
    line = [sys.executable, str(ROOT / "launch" / "local.py"), "+exp=self_test", *words]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started:
        deadline = time.monotonic() + 600
        while not list(tmp_path.glob("runs/self_test/*/cases/static-again.1/claims/001")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        started.send_signal(signal.SIGTERM)
        printed, _ = started.communicate(timeout=300)
    assert started.returncode == 75, printed
    assert b"stopped on request, 0 of 4 checks made; the same command goes on" in printed
    run = the_run(tmp_path)
    kept = (run.folder / "cases" / "whole-fp32.1" / "result.json").stat().st_mtime_ns
    code, said = typed("local", tmp_path, {}, *words)
    assert code == 0, said
    assert (run.folder / "cases" / "whole-fp32.1" / "result.json").stat().st_mtime_ns == kept
    passed = dict.fromkeys(["repeated_static", "ties", "nodes"], "passed")
    assert states(run) == {**passed, "across_exact": "not here"}
    assert [attempt.reason for attempt in ledger.read(run)] == ["stopped", "done"]
    assert "one node: nodes=2 would make it two" in said


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_of_it_passes_here(tmp_path: Path) -> None:
    code, printed = typed("local", tmp_path, {}, *ON_TWO)
    expected = {name: "passed" if name in HERE_TOO else "not here" for name in NAMES}
    assert states(the_run(tmp_path)) == expected, f"{printed}\n{told(the_run(tmp_path))}"
    assert code == 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_other_families_differ_where_they_should(tmp_path: Path) -> None:
    wrong = listed(sorted(OF_OTHERS | {"resumed_bf16"}))
    code, printed = typed(
        "local", tmp_path, {}, *ON_TWO, f"self_test.only={wrong}", f"self_test.faults={wrong}"
    )
    assert set(states(the_run(tmp_path)).values()) == {"failed"}, f"{printed}\n{told(the_run(tmp_path))}"
    assert code == 1
