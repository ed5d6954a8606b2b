"""The launcher, end to end: real commands, submitit, torchrun and worker, and a few real images."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from login_node import frozen, refreeze

from dnw.runs import ledger, lock
from dnw.runs.folder import Run
from dnw.runs.frozen_code import read_record
from launch.cluster import submission
from launch.query.run_status import query_status

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["+exp=static_dnw", "data=fashion_mnist", "optim=medium", "batch=16", "micro_batch=8", "nproc=2"]
QUICK = ["steps=2", "eval_every_epochs=1", "log.every_steps=1", "data.workers=0"]
INODES = 20  # of a run besides logs and checkpoints: file systems have quotas of them
LONG = ["steps=100000", "log.every_steps=1", "data.workers=0"]


def command(script: str, shards: Path, *words: str) -> list[str]:
    return [sys.executable, str(ROOT / "launch" / script), *WORDS, f"data.dir={shards}", *words]


def typed(script: str, shards: Path, here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command to its end. A background job that kept the terminal would make this hang."""
    line = command(script, shards, *words)
    return subprocess.run(line, cwd=here, capture_output=True, text=True, timeout=150, check=False)


def the_run(here: Path) -> Run:
    (folder,) = _folders(here)
    return Run(folder)


def _folders(here: Path) -> list[Path]:
    """Return the run folders, without what is there while a run is started."""
    return list((here / "runs" / "static_dnw").glob("[!.]*"))


def until(there: Callable[[], bool], timeout_s: float = 100) -> None:
    deadline = time.monotonic() + timeout_s
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def has_trained(run: Run) -> bool:
    return run.metrics.exists() and bool(run.metrics.read_text())


def gone(pid: int) -> bool:
    return not Path("/proc", str(pid)).exists()


def state(run: Run) -> str:
    ((found,), _) = query_status([run])
    return found.state


def job_id(run: Run) -> int:
    newest = submission.newest(run)
    assert newest is not None
    return int(newest.job)


def test_in_the_background_of_this_machine(few_images: Path, tmp_path: Path) -> None:
    words = ["cluster=local", *LONG]
    submit = typed("slurm.py", few_images, tmp_path, *words)
    assert submit.returncode == 0, submit.stderr
    run = the_run(tmp_path)
    controller = job_id(run)
    try:
        assert os.getsid(controller) != os.getsid(0)  # closing the terminal doesn't end it
        assert state(run) in {"queued", "running"}
        until(lambda: has_trained(run))
        again = typed("slurm.py", few_images, tmp_path, *words)
        assert f"running, attempt 1 (job {controller}, process" in again.stdout
    finally:
        os.kill(controller, signal.SIGTERM)
    until(lambda: gone(controller))
    (attempt,) = ledger.read(run)
    assert attempt.reason == "stopped", run.log(1, 0).read_text()
    assert attempt.end is not None
    stopped_at = attempt.end["step"]
    assert state(run) == "stopped"

    typed("slurm.py", few_images, tmp_path, *words)
    until(lambda: len(ledger.read(run)) == 2 and ledger.read(run)[1].start is not None)
    os.kill(job_id(run), signal.SIGTERM)
    until(lambda: gone(job_id(run)))
    start = ledger.read(run)[1].start
    assert start is not None
    assert start["step"] == stopped_at
    assert sorted(path.name for path in run.slurm.iterdir()) == ["1", "2"]


def test_in_the_foreground(few_images: Path, tmp_path: Path) -> None:
    done = typed("local.py", few_images, tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    run = the_run(tmp_path)
    top1 = json.loads(run.result.read_text())["top1"]
    again = typed("local.py", few_images, tmp_path, *QUICK)
    assert again.returncode == 0
    assert "finished" in again.stdout
    assert str(top1) in again.stdout
    assert len(ledger.read(run)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]  # no trace of Hydra
    kept = [path for path in run.folder.rglob("*") if not {"logs", "checkpoints"} & {*path.parts}]
    assert len(kept) <= INODES, kept


@pytest.mark.parametrize("script", ["local.py", "slurm.py"])
def test_code_that_is_mended_takes_over(few_images: Path, tmp_path: Path, script: str) -> None:
    """A run fails of its own code, and again when typed again, which says why and how it goes on."""
    words = [*QUICK, "cluster=local"]
    done = typed("local.py", few_images, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    run = the_run(tmp_path)
    run.result.unlink()
    fault = "raise SystemExit('a fault')"
    refreeze(run, "dnw/train.py", fault)
    again = typed("local.py", few_images, tmp_path, *words)
    assert again.returncode == 1
    assert "here differ dnw/train.py: code=new takes over the present code" in again.stderr.splitlines()[-1]
    assert not run.result.exists()

    done = typed(script, few_images, tmp_path, *words, "code=new")
    assert done.returncode == 0, done.stderr
    until(run.result.exists)
    (change,) = json.loads(run.result.read_text())["code_changes"]
    assert (change["attempt"], change["step"]) == (3, 2)
    assert change["digest"] == read_record(run.code)["digest"]
    assert frozen(run.code_before(3))["dnw/train.py"] == fault
    assert the_run(tmp_path) == run  # it is the same run


def test_ctrl_c_saves_and_stops(few_images: Path, tmp_path: Path) -> None:
    line = command("local.py", few_images, *LONG)
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: bool(_folders(tmp_path)) and has_trained(the_run(tmp_path)))
    run = the_run(tmp_path)
    other = typed("local.py", few_images, tmp_path, *LONG)
    assert (other.returncode, "running, attempt 1" in other.stdout) == (0, True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "stopped on request (SIGINT)" in err
    assert "Traceback" not in err
    assert ledger.read(run)[0].reason == "stopped"
    assert any(run.checkpoints.glob("step-*.pt"))


def test_a_launcher_that_is_killed_leaves_nothing_behind(few_images: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command("local.py", few_images, *LONG), cwd=tmp_path)
    until(lambda: bool(_folders(tmp_path)) and has_trained(the_run(tmp_path)))
    run = the_run(tmp_path)
    worker = ledger.read(run)[0].start
    assert worker is not None
    process.kill()
    process.wait()
    until(lambda: lock.holder(run.lock) is None)
    until(lambda: gone(worker["pid"]))
    assert ledger.read(run)[0].reason == "stopped"  # its workers were asked to, and saved


@pytest.mark.parametrize("script", ["slurm.py", "local.py"])
def test_a_port_in_use_is_refused_before_anything_is_written(
    few_images: Path, tmp_path: Path, script: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = ["cluster=local", f"port={port}"]
        refused = typed(script, few_images, tmp_path, *words)
    assert refused.returncode == 2
    assert f"port: {port} can't be used (Address already in use)" in refused.stderr
    assert list(tmp_path.iterdir()) == []
