"""Parts of `make demo`; the whole of it is typed in tests/integration/test_documents.py."""

import os
import signal
from pathlib import Path

import pytest
from run_folder import log, make, note

from launch import demo


def test_the_worker_that_is_killed_is_the_newest_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path)
    note(run, 1, "start", 1.0, step=0, pid=11)
    note(run, 2, "start", 2.0, step=4, pid=22)
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *words: killed.append(words))
    demo._kill(run)
    assert killed == [(22, signal.SIGKILL)]


def test_it_waits_for_a_step_or_for_the_result(tmp_path: Path) -> None:
    run = make(tmp_path)
    log(run, 5)
    assert demo._wait(run, 10, until=5) is True
    run.result.write_text("{}")
    assert demo._wait(run, 10, until=7) is False


def test_a_training_that_nobody_works_on_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path)
    with pytest.raises(SystemExit, match=f"the training failed: it never began; its logs: {run.logs}"):
        demo._wait(run, 10)
    note(run, 1, "end", 1.0, reason="error", detail="no room")
    with pytest.raises(SystemExit, match="the training failed: no room"):
        demo._wait(run, 10)


@pytest.mark.parametrize(
    ("visible", "words"), [((), []), (("0",), ["cluster.gpus_per_node=0"]), (("0", "1"), [])]
)
def test_one_gpu_for_two_processes_is_none(
    monkeypatch: pytest.MonkeyPatch, visible: tuple[str, ...], words: list[str]
) -> None:
    monkeypatch.setattr(demo, "visible_gpus", lambda: visible)
    assert demo._device() == words
