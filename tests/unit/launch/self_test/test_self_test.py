"""The self-test before it runs: what may be typed, what its cases are, who takes part, how it is shown."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from example import train as example
from hydra.core.global_hydra import GlobalHydra

from dnw import config
from dnw.config import ConfigError
from dnw.processes import check_processes
from dnw.runs.folder import Run
from dnw.training import faults
from launch import app
from launch.cluster.submit import job
from launch.compose import compose
from launch.config import SelfTest
from launch.node.job import Job
from launch.node.signals import StopRequests
from launch.node.topology import LOOPBACK, Node
from launch.prepare import RunPlan, plan
from launch.self_test import bench, cases, findings, report, settings
from launch.self_test.bench import Bench, CaseError
from launch.self_test.cases import FAMILIES, FULL, LARGE, SMALL, Case
from launch.self_test.checks import NAMES
from launch.self_test.findings import Record
from launch.self_test.series import Series


@pytest.fixture
def no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra keeps one composition; the words of another test's must be gone."""
    monkeypatch.setattr(sys, "argv", ["slurm.py"])
    GlobalHydra.instance().clear()


ROOT = Path(__file__).resolve().parents[4]
DOCUMENT = ROOT / "docs" / "self_test.md"


def planned(tmp_path: Path, *words: str) -> RunPlan:
    (composed,) = compose(["+exp=self_test", f"runs_dir={tmp_path}", "cluster=local", *words])
    return plan(composed)


def a_bench(tmp_path: Path, nodes: int, nproc: int) -> Bench:
    hosts = tuple(f"n{number}" for number in range(1, nodes + 1))
    node = Node(0, nodes, "n1", "n1", "7", 0, hosts, in_slurm=True)
    whole = Run(tmp_path / "self_test" / "x-0123456789")
    return Bench(whole, 1, node, nproc, 60, lambda *_: None, StopRequests(impatient=False), example())


@pytest.mark.usefixtures("no_hydra")
class TestOnTheLoginNode:
    def test_it_needs_no_images_and_is_handed_a_series(self, tmp_path: Path) -> None:
        found = planned(tmp_path, "nproc=2")
        assert found.train.data.dir == found.run.folder / "images"
        handed = job(found)
        assert isinstance(handed, Series)
        assert (handed.job.folder, handed.nproc) == (found.run.folder, 2)

    def test_a_step_is_a_check(self, tmp_path: Path) -> None:
        """So that `runs.py status` shows how many there are."""
        assert planned(tmp_path).train.steps == len(NAMES)
        assert planned(tmp_path, "self_test.only=[ties,exact]").train.steps == 2

    def test_other_processes_checks_or_faults_are_another_self_test(self, tmp_path: Path) -> None:
        words = ("", "nproc=2", "self_test.only=[ties]", "self_test.faults=[ties]", "seed=1")
        assert len({planned(tmp_path, *more.split()).run.folder for more in words}) == len(words)
        assert planned(tmp_path, "data.workers=0").run.folder == planned(tmp_path).run.folder

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            (
                "self_test.only=[tie]",
                "self_test.only: no check 'tie'; did you mean ties?; there are: trained",
            ),
            ("self_test.faults=[x]", "self_test.faults: no check 'x'; there are: trained, resumed_fp32"),
            ("width=0.3", "width: the checks of the self-test choose it; may be set: seed, threads, "),
            ("model=static", "model: the checks of the self-test choose it"),
            ("data.dir=x", "data.dir: the checks of the self-test choose it"),
        ],
    )
    def test_what_it_would_not_follow_is_refused(self, tmp_path: Path, word: str, said: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(said)):
            planned(tmp_path, word)


def test_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lab: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["launch/slurm.py", "+exp=self_test", "nodes=2", "dry_run=true"])
    assert app.main(app.background) == 0
    assert "#SBATCH --nodes=2" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("processes", [1, 2, 6, 8, 16, 24])
def test_all_processes_can_share_each_case(size: cases.Size, processes: int) -> None:
    for family in FAMILIES:
        found = cases.settings(example(), Case("x", "x.1", 1, processes, family), size, processes)
        for some in {processes, *(count for count in (1, 2, 4, 8) if count <= processes)}:
            check_processes(found, some, "x")
    full = cases.settings(example(), Case("x", "x.1", 1, processes, "mobilenet", FULL), size, processes)
    assert full.batch == 64 * cases.micro_batches(processes)


def test_evaluations_come_where_faults_are_put_in() -> None:
    for processes in (1, 2, 8, 12):
        found = cases.settings(example(), Case("x", "x.1", 1, 1), SMALL, processes)
        samples = cases.samples(SMALL, processes)
        assert samples["train"] == 4 * found.batch  # an epoch ends at step 4
        assert samples["val"] == 4 * processes * found.eval_batch  # each process looks up four times


def test_on_how_few_nodes(tmp_path: Path) -> None:
    found = a_bench(tmp_path, nodes=3, nproc=4)
    assert [found.share(count) for count in (1, 2, 4, 8, 16)] == [(1, 1), (1, 2), (1, 4), (2, 4), None]
    assert a_bench(tmp_path, nodes=2, nproc=3).share(4) is None


def test_what_is_announced_is_what_the_other_nodes_read() -> None:
    variables = {"DNW_FAULT": "1:step 5"}
    case = Case("killed-fp32", "killed-fp32.2", 2, 4, "static", {"steps": 4}, ("dnw.train",), variables)
    read, attempt, port = bench.announced(bench.announcement(case, 3, 12345))
    assert (attempt, port) == (3, 12345)
    assert (read.folder, read.nodes, read.nproc) == (case.folder, case.nodes, case.nproc)
    assert (read.worker, read.variables) == (case.worker, case.variables)


def test_fewer_nodes_than_all_meet_by_themselves(tmp_path: Path) -> None:
    node = a_bench(tmp_path, nodes=3, nproc=4).node
    alone, two = bench.among(node, 1), bench.among(node, 2)
    assert (alone.count, alone.head, alone.address, alone.hosts) == (1, LOOPBACK, LOOPBACK, ("n1",))
    assert (two.count, two.head, two.hosts) == (2, "n1", ("n1", "n2"))


def test_a_case_runs_the_frozen_code_and_its_own_worker(tmp_path: Path) -> None:
    found = a_bench(tmp_path, nodes=1, nproc=2)
    (found.whole.code / "dnw").mkdir(parents=True)
    case = Case("measure-ties", "measure-ties.1", 1, 2, worker=("dnw.self_test.measure", "ties"))
    run = cases.prepare(found.whole, case, cases.settings(found.base, case, SMALL, 2))
    assert (run.code / "dnw").is_dir()
    command = bench.job_of(found.whole, case, 60, None).command(found.node, 1, 0)
    assert command[-4:] == ["-m", "dnw.self_test.measure", str(run.folder), "ties"]


def test_a_case_that_came_to_no_end_is_not_tried_by_each_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = a_bench(tmp_path, nodes=1, nproc=2)
    tried = []
    monkeypatch.setattr(Job, "lead", lambda self, *_: tried.append(self.folder) or (1, None))
    for _ in range(2):
        with pytest.raises(CaseError, match=r"whole-fp32\.1: it never began"):
            found.train("whole-fp32")
    assert len(tried) == 1


def a_record(check: str, state: findings.State) -> Record:
    return Record(check, f"shows {check}", state, "a | figure", "held to", 1.25, (f"{check}-case.1",))


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path)
    run.code.mkdir()
    (run.code / "code.json").write_text(
        '{"commit": "0123456789abcdef", "dirty": true, "digest": "ffeeddccbbaa99"}'
    )
    run.config.write_text(config.dump(example(steps=5)))
    report.show(run)
    assert capsys.readouterr().out == ""
    findings.write(run, a_record("exact", "not here"))
    findings.write(run, a_record("trained", "failed"))
    report.write(run, ["n1", "n2"], 4)
    lines = (run.folder / report.NAME).read_text().splitlines()
    assert lines[0] == "# Self-test: 0 passed, 1 failed, 1 not here, 3 not made"
    assert "- code: 0123456789ab, edited, digest ffeeddccbbaa" in lines
    assert lines[-2:] == [
        "| shows trained | **failed** | a / figure | held to | 1.2 |",
        "| shows exact | **not here** | a / figure | held to | 1.2 |",
    ]
    report.show(run)
    assert "a | figure" in capsys.readouterr().out


def test_failed_checks_are_forgotten_with_their_runs(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for check, state in (("exact", "passed"), ("ties", "failed")):
        findings.write(run, a_record(check, state))  # type: ignore[arg-type]
        result = cases.run_of(run, f"{check}-case.1").result
        result.parent.mkdir(parents=True)
        result.write_text("{}")
    Series(Job(tmp_path, 1, 1, 60))._forget(run)
    assert [record.check for record in findings.read(run, NAMES)] == ["exact"]
    assert cases.run_of(run, "exact-case.1").result.exists()
    assert not cases.run_of(run, "ties-case.1").result.exists()


def test_of_several_runs_of_a_case_the_newest_finished_one_counts(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert cases.done(run, "exact-1") is None
    for folder, is_done in (
        ("exact-1.2", True),
        ("exact-1.9", True),
        ("exact-1.10", False),
        ("exact-10.11", True),
    ):
        result = cases.run_of(run, folder).result
        result.parent.mkdir(parents=True)
        if is_done:
            result.write_text("{}")
    assert cases.done(run, "exact-1") == cases.run_of(run, "exact-1.9")


def test_every_check_is_documented() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {name if not name.startswith("_") else f"repeated{name}" for name in named} == set(NAMES)
    assert settings.checks(SelfTest()) == NAMES


SIGNALLED = """
import os, signal, subprocess, sys
child = "from dnw.training.faults import reach; reach('step 4'); reach('step 5'); reach('step 5')"
got = []
signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
subprocess.run([sys.executable, "-c", child], env={**os.environ, "DNW_JOB_PID": str(os.getpid())}, check=True)
print(len(got))
"""


def test_a_fault_signals_the_job_once_and_notes_when(tmp_path: Path) -> None:
    note = tmp_path / "note"
    variables = {"DNW_FAULT": "1:step 4;0:step *:SIGTERM@job", "DNW_FAULT_NOTE": str(note)}
    line = [sys.executable, "-c", SIGNALLED]
    assert subprocess.check_output(line, cwd=ROOT, env=os.environ | variables) == b"1\n"
    assert float(note.read_text()) > 1.7e9


def test_one_of_several_faults_is_done_where_its_point_is(monkeypatch: pytest.MonkeyPatch) -> None:
    got = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: got.append(number))
    monkeypatch.setenv("DNW_FAULT", "0:step 5:SIGKILL;0:save step-*:SIGUSR2")
    for point in ("step 4", "save init.pt", "save step-00000004.pt"):
        faults.reach(point)
    signal.signal(signal.SIGUSR2, before)
    assert got == [signal.SIGUSR2]
