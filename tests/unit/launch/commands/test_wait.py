import dataclasses
import threading
import time
from pathlib import Path

import pytest
from login_node import Captured
from run_folder import Slurm, finish, make, note, slurm, submit

from dnw.runs.divergence import Divergence
from launch.commands import wait as waiting


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    found = slurm(tmp_path, monkeypatch)
    found.says("sacct")
    return found


def test_waiting_until_all_are_done(tmp_path: Path, cluster: Slurm, capfd: Captured) -> None:
    waits, done = make(tmp_path / "runs", "a-0123456789"), make(tmp_path / "runs", "b-0123456789")
    finish(done)
    submit(waits, "7")
    now = time.time()
    cluster.says("squeue", f"7|RUNNING|None|n1|low|{now:.0f}|{now:.0f}|{waits.slurm}/1/job.sh\n")

    def ends() -> None:
        time.sleep(0.3)
        finish(waits)

    note(waits, 1, "claim", time.time() + 1, job="7", restart=0, hosts=["n1"])
    thread = threading.Thread(target=ends)
    thread.start()
    code = waiting.wait([waits, done], poll_s=0.2)
    thread.join()
    assert code == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "example/a-0123456789: finished"
    assert lines.count("example/b-0123456789: finished") == 1


def test_waiting_ends_where_nobody_works_on_it(tmp_path: Path, cluster: Slurm, capfd: Captured) -> None:
    run = make(tmp_path / "runs")
    submit(run, "7", at=time.time() - 9)
    note(run, 1, "claim", time.time() - 5, job="7", restart=0, hosts=["n1"])
    note(run, 1, "end", time.time(), reason="error", by="launcher")
    cluster.says("squeue")
    assert waiting.wait([run], poll_s=0.01) == 1
    assert "example/default-0123456789: failed, error" in capfd.readouterr().out


@pytest.mark.parametrize(("reasons", "code"), [(["diverged"], 76), (["diverged", "error"], 1)])
def test_a_run_that_has_diverged_is_told_from_one_that_failed(
    tmp_path: Path, cluster: Slurm, capfd: Captured, reasons: list[str], code: int
) -> None:
    found = Divergence(step=7, what="the loss", rate=0.1, rank=0)
    runs = [make(tmp_path / "runs", f"seed={number}-012345678{number}") for number in range(3)]
    finish(runs[2])
    for run, reason in zip(runs, reasons, strict=False):
        submit(run, "7", at=time.time() - 9)
        note(run, 1, "claim", time.time() - 5, job="7", restart=0, hosts=["n1"])
        note(run, 1, "end", time.time(), reason=reason, by="launcher", diverged=dataclasses.asdict(found))
    cluster.says("squeue")
    assert waiting.wait([*runs[: len(reasons)], runs[2]], poll_s=0.01) == code
    assert "example/seed=0-0123456780: diverged" in capfd.readouterr().out
