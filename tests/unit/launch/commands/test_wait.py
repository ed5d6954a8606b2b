import threading
import time
from pathlib import Path

import pytest
from login_node import Captured
from run_folder import Slurm, finish, make, note, slurm, submit

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
