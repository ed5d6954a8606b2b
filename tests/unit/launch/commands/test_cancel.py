"""What is told to stop, and how; that a real run saves, tests/slurm and tests/integration show."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from run_folder import Slurm, make, note, slurm, submit

from dnw.runs.folder import Run
from launch.commands import cancel
from launch.commands.cancel import cancel as stop_runs
from launch.errors import LaunchError

ROOT = Path(__file__).resolve().parents[4]
NOW = time.time()

# Holds the run's lock as a job does, with a process that has inherited it as an agent does; says which signal
# came first.
JOB = """
import os, signal, subprocess, sys, time
from pathlib import Path
from dnw.runs.lock import Lock
held = Lock.take(Path(sys.argv[1]))
agent = subprocess.Popen(["/bin/sleep", "60"], pass_fds=(held.descriptor,))
held.write(attempt=1, job="-", pid=os.getpid(), host=sys.argv[2])
def stop(number, _frame):
    agent.kill()
    agent.wait()
    sys.exit(number)
signal.signal(signal.SIGTERM, stop)
print(agent.pid, flush=True)
while True:
    if agent.poll() is not None:
        sys.exit(99)
    time.sleep(0.01)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.setattr(cancel, "POLL_S", 0.05)
    return slurm(tmp_path, monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def at_work(run: Run, host: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", JOB, str(run.lock), host]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.fixture
def foreground(run: Run) -> Iterator[subprocess.Popen[str]]:
    """A run in the foreground of a terminal, as far as its lock tells."""
    submit(run, "-", "foreground", at=NOW - 9)
    process = at_work(run, socket.gethostname())
    yield process
    process.kill()
    process.communicate()


def queue(*jobs: tuple[str, str, Run]) -> str:
    lines = [f"{job}|{state}|None||low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh" for job, state, run in jobs]
    return "\n".join(lines) + "\n"


def test_a_run_that_is_not_at_work(run: Run, cluster: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop_runs([run], now=False, wait=True) == 0
    assert capsys.readouterr().out == f"{run.name}: not at work (ready)\n"


def test_jobs_of_slurm_in_one_call(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [make(tmp_path / "runs", f"default-{number}") for number in range(3)]
    for number, one in enumerate(made):
        submit(one, f"7_{number}", at=NOW - 9)
    cluster.says(
        "squeue",
        queue(("7_0", "RUNNING", made[0]), ("7_1", "PENDING", made[1]), ("7_2", "RUNNING", made[2])),
    )
    cluster.says("scancel")
    assert stop_runs(made, now=False, wait=False) == 0
    assert cluster.calls[1:] == ["scancel 7_0 7_1 7_2"]
    out = capsys.readouterr().out
    assert f"{made[0].name}: asked to save and stop\n" in out
    assert f"{made[1].name}: taken from the queue\n" in out


def test_killing_goes_to_the_step_first(run: Run, cluster: Slurm, tmp_path: Path) -> None:
    """`scancel --signal=KILL JOB` would send TERM before it, upon which everything saves."""
    waiting = make(tmp_path / "runs", "waiting")
    submit(run, "7", at=NOW - 9)
    submit(waiting, "8", at=NOW - 9)
    cluster.says("squeue", queue(("7", "RUNNING", run), ("8", "PENDING", waiting)))
    cluster.says("scancel")
    assert stop_runs([run, waiting], now=True, wait=False) == 0
    assert cluster.calls[1:] == ["scancel --signal=KILL 7.0", "scancel 7 8"]


# Slurm's own scancel says so of a step of a job that has ended; this one refuses every step, and no job.
STEPLESS = """#!/bin/sh
echo "scancel $*" >>"$LAB/calls"
case $1 in --signal=KILL) echo "scancel: error: Kill job error on job step id 7.0: $SAYS" >&2; exit 1 ;; esac
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Invalid job id specified", None),
        ("Job/step already completing or completed", None),
        ("Zero Bytes were transmitted", "Zero Bytes were transmitted; asked to save and stop instead$"),
    ],
)
def test_a_job_without_a_step_is_cancelled_as_a_whole(
    run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, said: str, told: str | None
) -> None:
    """Its script prepares or waits for another run, or it has ended meanwhile; others typed with it go on."""
    submit(run, "7", at=NOW - 9)
    cluster.says("squeue", queue(("7", "RUNNING", run)))
    cluster.says("scancel")
    monkeypatch.setenv("SAYS", said)
    (cluster.lab / "bin" / "scancel").write_text(STEPLESS)
    with nullcontext() if told is None else pytest.raises(LaunchError, match=told):
        assert stop_runs([run], now=True, wait=False) == 0
    assert cluster.calls[1:] == ["scancel --signal=KILL 7.0", "scancel 7"]


def test_slurm_refuses(run: Run, cluster: Slurm) -> None:
    submit(run, "7", at=NOW - 9)
    cluster.says("squeue", queue(("7", "RUNNING", run)))
    cluster.says("scancel", err="scancel: error: Kill job error on job id 7: Access denied\n", code=1)
    with pytest.raises(LaunchError, match=r"^scancel: error: Kill job error on job id 7: Access denied$"):
        stop_runs([run], now=False, wait=True)


@pytest.mark.parametrize(
    ("end", "said", "code"),
    [
        ({"reason": "stopped", "step": 5}, "saved after step 5, within 0.0 s", 0),
        ({"reason": "killed", "detail": "not saved in the time granted"}, "ended without saving (killed", 1),
    ],
)
def test_waiting_for_the_end(
    run: Run,
    cluster: Slurm,
    capsys: pytest.CaptureFixture[str],
    end: dict[str, str | int],
    said: str,
    code: int,
) -> None:
    submit(run, "7", at=NOW - 9)
    note(run, 1, "claim", NOW - 8, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    cluster.says("squeue", queue(("7", "RUNNING", run)))
    cluster.says("sacct")
    cluster.says("scancel")
    # The job goes with the command that cancels it.
    ended = json.dumps({"time": NOW, "attempt": 1, "event": "end", **end})
    script = cluster.lab / "bin" / "scancel"
    script.write_text(f"#!/bin/sh\necho '{ended}' >>'{run.attempts}'\n: >'{cluster.lab}/squeue.out'\n")
    assert stop_runs([run], now=False, wait=True) == code
    out = capsys.readouterr().out
    assert f"{run.name}: {said}" in out
    assert out.endswith("ended; run the submit command again to resume from its newest checkpoint\n")


def test_a_run_in_the_foreground_is_asked_by_its_process(
    run: Run, cluster: Slurm, foreground: subprocess.Popen[str]
) -> None:
    assert stop_runs([run], now=False, wait=True) == 1  # this job writes no ledger
    assert foreground.wait(timeout=10) == signal.SIGTERM


def test_killed_none_of_its_processes_gets_a_word_in(
    run: Run, cluster: Slurm, foreground: subprocess.Popen[str]
) -> None:
    assert stop_runs([run], now=True, wait=True) == 0
    assert foreground.wait(timeout=10) == -signal.SIGKILL
    assert cluster.calls == []


def test_a_run_of_this_machine_is_asked_by_its_controller(run: Run, cluster: Slurm) -> None:
    script = "trap 'exit 3' TERM; echo; while :; do /bin/sleep 0.01; done"
    words = ["/bin/sh", "-c", script, str(run.slurm / "1")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        controller.stdout.readline()
        submit(run, str(controller.pid), "local", at=NOW - 9)
        assert stop_runs([run], now=False, wait=True) == 0
        assert controller.wait(timeout=10) == 3


def test_a_process_that_only_has_the_same_number_lives(run: Run, cluster: Slurm) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE) as other:
        submit(run, str(other.pid), "local", at=NOW - 9)
        assert stop_runs([run], now=True, wait=True) == 0
        assert other.poll() is None


def test_a_run_of_another_machine(run: Run, cluster: Slurm) -> None:
    submit(run, "-", "foreground", at=NOW - 9)
    process = at_work(run, "elsewhere")
    try:
        with pytest.raises(LaunchError, match="at work on elsewhere; type this command there"):
            stop_runs([run], now=False, wait=True)
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate()


def test_one_of_several_that_share_a_job(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str]
) -> None:
    """It alone is asked to end; with the last one the job is cancelled."""
    made = [make(tmp_path / "runs", f"default-{number}") for number in range(3)]
    pack = [str(run.folder) for run in made]
    for one in made:
        last = submit(one, "7", at=NOW - 9, folder=str(tmp_path), pack=pack)
    line = f"7|RUNNING|None||low|{NOW:.0f}|{NOW:.0f}|{tmp_path}/job.sh\n"
    cluster.says("squeue", line)
    cluster.says("scancel")
    with pytest.raises(
        LaunchError, match=r"shares job 7 with others, .* leave --now out, or name all of them$"
    ):
        stop_runs(made[:1], now=True, wait=False)
    assert last.marks.of(made[0]) == ""
    assert stop_runs(made[:1], now=False, wait=False) == 0
    assert last.marks.of(made[0]) == "cancelled"
    assert f"{made[0].name}: asked to save and stop\n" in capsys.readouterr().out
    last.marks.end(made[1])
    assert "scancel 7" not in cluster.calls
    assert stop_runs(made[2:], now=False, wait=False) == 0
    assert "scancel 7" in cluster.calls
    assert last.marks.of(made[2]) == ""
