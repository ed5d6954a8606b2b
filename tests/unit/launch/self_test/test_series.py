import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from dnw.preemption import STOPPED
from dnw.runs.folder import Run
from launch.node import requeue
from launch.node.job import Job
from launch.node.signals import StopRequests
from launch.node.topology import Node
from launch.self_test import cases, findings, series
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


@pytest.mark.parametrize("is_requeued", [True, False])
def test_one_that_was_stopped_starts_again_unless_that_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_requeued: bool
) -> None:
    asked: list[signal.Signals] = []
    stopped = SimpleNamespace(stop=SimpleNamespace(signal=signal.SIGTERM))
    monkeypatch.setattr(StopRequests, "listen", lambda _: None)
    monkeypatch.setattr(series, "this_node", lambda *_: Node(0, 1, "n1", "7", 0, ("n1",), in_slurm=True))
    monkeypatch.setattr(Series, "_lead", lambda *_: (STOPPED, stopped))
    monkeypatch.setattr(requeue, "after_stop", lambda _run, _node, number: asked.append(number))
    assert Series(Job(tmp_path, 1, 1, 60, is_requeued=is_requeued)).run() == STOPPED
    assert asked == ([signal.SIGTERM] if is_requeued else [])
