"""What the checks of a self-test make of what they are told: by nodes with GPUs, too, which none here has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from launch.self_test import checks
from launch.self_test.cases import SMALL
from launch.self_test.findings import Finding


class Told:
    """Stands for a Bench: measurements and runs that came to what a test says."""

    nproc, processes, size = 2, 2, SMALL

    def __init__(
        self, folder: Path, ranks: list[dict[str, Any]], device: str = "cpu", world: int = 2
    ) -> None:
        self.run = Run(folder)
        self._ranks = ranks
        ledger.start(self.run, 1, step=0, world=world, device=device)
        for step in (1, 2):
            jsonl.append(self.run.metrics, {"kind": "train", "step": step, "loss": 3.0 / step})

    def measure(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"ranks": self._ranks}

    def train(self, *_: Any, **__: Any) -> Run:
        return self.run


def a_rank(gpus: int, **more: Any) -> dict[str, Any]:
    facts = {"host": "n1", "gpus": gpus, "device": "cuda" if gpus else "cpu", **more}
    return {"is_right": True, "figure": "", "tolerance": "", "facts": facts}


def trained(bench: Told) -> Finding:
    return checks.trained(bench, False)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def nothing_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_on_a_gpu_each(tmp_path: Path) -> None:
    found = trained(Told(tmp_path, [a_rank(2), a_rank(2)], "cuda:0"))
    assert found == Finding("passed", "2 processes on cuda, loss 3.000 to 1.500", "2 processes on cuda")


def test_on_the_cpu_where_there_is_nothing_else(tmp_path: Path) -> None:
    found = trained(Told(tmp_path, [a_rank(0), a_rank(0)]))
    assert found.state == "passed"
    assert found.figure.endswith("; no GPU here")


def test_on_the_cpu_of_nodes_that_have_gpus(tmp_path: Path) -> None:
    found = trained(Told(tmp_path, [a_rank(2), a_rank(2)], "cpu"))
    assert (found.state, found.tolerance) == ("failed", "2 processes on cuda")


def test_on_the_cpu_since_torch_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has them, the wheel or the driver is the wrong one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert trained(Told(tmp_path, [a_rank(0), a_rank(0)])).state == "failed"


def test_idle_gpus(tmp_path: Path) -> None:
    found = trained(Told(tmp_path, [a_rank(8), a_rank(8)], "cuda:0"))
    assert found.state == "failed"
    assert found.figure.endswith("; n1 has 8 GPUs")


def test_too_few_processes(tmp_path: Path) -> None:
    assert trained(Told(tmp_path, [a_rank(2), a_rank(2)], "cuda:0", world=1)).state == "failed"


def test_no_gpu_where_there_should_be_one(tmp_path: Path) -> None:
    found = checks.trained(Told(tmp_path, [a_rank(0), a_rank(0)]), True)  # type: ignore[arg-type]
    assert (found.state, found.tolerance) == ("failed", "2 processes on cuda")


class Noting(Told):
    """Stands for a Bench whose trainings differ where they were asked to: settings, by name of the case."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [])
        self.asked: dict[str, tuple[str, dict[str, Any]]] = {}

    def train(self, name: str, family: str = "static", fault: str = "", **changes: Any) -> Run:
        self.asked[name] = family, {"precision": "fp32", **changes}
        run = Run(self.run.folder / name)
        run.folder.mkdir()
        for number, reason in enumerate(("killed", "done") if fault else ("done",), start=1):
            ledger.start(run, number, step=4 * (number - 1), world=2, device="cpu")
            ledger.end(run, number, reason)  # type: ignore[arg-type]
        return run

    def differences(self, one: Run, other: Run) -> list[str]:
        return ["w"] if self.asked[one.folder.name] != self.asked[other.folder.name] else []


@pytest.mark.parametrize("is_faulty", [False, True])
@pytest.mark.parametrize("name", [name for name in checks.NAMES if name.startswith(("resumed", "repeated"))])
def test_the_second_of_two_runs_that_shall_be_alike_gets_the_fault(
    tmp_path: Path, name: str, is_faulty: bool
) -> None:
    """Real trainings of the kind: tests/integration/test_self_test.py."""
    check = {one.name: one.make for one in checks.CHECKS}[name]
    bench = Noting(tmp_path)
    found = check(bench, is_faulty)  # type: ignore[arg-type]
    (first, settings), (second, others) = sorted(bench.asked.values(), key=lambda one: "optim__lr" in one[1])
    assert first == second == (name.removeprefix("repeated_") if "repeated" in name else "static")
    assert settings["precision"] == (name.removeprefix("resumed_") if "resumed" in name else "fp32")
    assert others == settings | ({"optim__lr": checks.OTHER_RATE} if is_faulty else {})
    assert found.state == ("failed" if is_faulty else "passed")
    assert found.figure.endswith(" differs in w") == is_faulty


@pytest.mark.parametrize(("tflops", "state"), [(50.0, "passed"), (4.0, "failed")])
def test_a_slow_processor(tmp_path: Path, tflops: float, state: str) -> None:
    speeds = {"memory_gb_s": 2000.0, "reduced_gb_s": 300.0, "reduced_mb": 268}
    ranks = [a_rank(2, tflops=55.0, **speeds), a_rank(2, tflops=tflops, **speeds)]
    found = checks.alike(Told(tmp_path, ranks), False)  # type: ignore[arg-type]
    assert found.state == state
    assert f"{tflops:g} to 55 TFLOP/s" in found.figure
    assert "all-reduce of 268 MB at 300 GB/s" in found.figure


def test_the_process_that_is_wrong_is_named(tmp_path: Path) -> None:
    right = {"is_right": True, "figure": "0 differ", "tolerance": "none", "facts": {}}
    found = checks.measured(
        "ties",
        "static",
        Told(tmp_path, [right, {**right, "is_right": False, "figure": "3 differ"}]),  # type: ignore[arg-type]
        False,
    )
    assert found == Finding("failed", "rank 1: 3 differ", "none")
