from pathlib import Path

from dnw.runs.folder import Run
from launch.node.job import Job
from launch.self_test import cases, findings
from launch.self_test.checks import NAMES
from launch.self_test.findings import Record
from launch.self_test.series import Series


def a_record(check: str, state: findings.State) -> Record:
    return Record(check, f"shows {check}", state, "a | figure", "held to", 1.25, (f"{check}-case.1",))


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
