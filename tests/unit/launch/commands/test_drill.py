"""What a preemption drill reports; the real thing is in tests/slurm."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folder import Slurm, finish, log, make, note, slurm, submit

from dnw import config
from dnw.runs.folder import Run
from launch.cluster.submission import newest, submission
from launch.commands import drill
from launch.commands.drill import DrillError, plan_again
from launch.config import Cluster, Launch
from launch.errors import LaunchError

GRANTED = "PartitionName=low GraceTime=30 State=UP\nKillWait                = 10 sec\n"
SETTINGS: dict[str, Any] = {"timeout_min": 60, "signal_delay_s": 180, "grace_s": 120}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    made = slurm(tmp_path, monkeypatch)
    made.says("sacct")
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """At work as job 7, in its first attempt, 5 steps done."""
    made = make(tmp_path / "runs")
    submit(made, "7", at=time.time() - 60, settings=SETTINGS)
    begin(made, 1, at=time.time() - 50, step=0)
    log(made, 5)
    return made


def begin(run: Run, number: int, at: float, step: int) -> None:
    note(run, number, "claim", at, job="7", restart=number - 1, host="n1", hosts=["n1"], pid=1)
    note(run, number, "start", at, step=step)
    note(run, number, "step", at, step=step + 1)


def queue(run: Run, state: str, reason: str = "None") -> str:
    now = time.time()
    return f"7|{state}|{reason}|n1|low|{now:.0f}|{now:.0f}|{run.slurm}/1/job.sh\n"


def acting(run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], None]) -> None:
    """What happens, one act for each time that the drill pauses."""
    left = list(acts)
    monkeypatch.setattr(drill._Watch, "pause", lambda _watch: left.pop(0)())
    cluster.says("squeue", queue(run, "RUNNING"))
    cluster.says("scontrol", GRANTED)


@pytest.mark.parametrize(("resumed", "code"), [(7, 0), (4, 1)])
def test_from_signal_to_first_step(
    run: Run,
    cluster: Slurm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    resumed: int,
    code: int,
) -> None:
    def save() -> None:
        note(run, 1, "end", time.time(), reason="stopped", step=7)
        note(run, 1, "end", time.time() + 50, reason="stopped", by="launcher", cause="requeued")

    acting(
        run,
        cluster,
        monkeypatch,
        save,
        lambda: cluster.says("squeue", queue(run, "COMPLETING")),
        lambda: cluster.says("squeue", queue(run, "PENDING", "BeginTime")),
        lambda: cluster.says("squeue", queue(run, "PENDING", "Resources")),
        lambda: cluster.says("squeue", queue(run, "RUNNING")),
        lambda: begin(run, 2, time.time(), step=resumed),
    )
    assert drill.show(run, as_json=True) == code
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["step_stopped"], told["step_resumed"], told["steps_lost"]) == (7, resumed, 7 - resumed)
    assert told["saving_s"] < 5
    assert told["waited_for"] == ["BeginTime", "Resources"]
    deadlines = {"partition low: GraceTime 30 s + KillWait 10 s": 40, "cluster.grace_s": 120}
    assert told["deadlines_s"] == deadlines
    assert None not in told.values()
    assert [call for call in cluster.calls if "requeue" in call] == ["scontrol requeue 7"]
    assert "job 7 is in the queue again" in err


def test_people_get_a_table(
    run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acting(
        run,
        cluster,
        monkeypatch,
        lambda: note(run, 1, "end", time.time(), reason="stopped", step=7),
        lambda: begin(run, 2, time.time(), step=7),
    )
    assert drill.show(run, as_json=False) == 0
    out = capsys.readouterr().out
    assert f"Preemption drill of {run.name}, job 7" in out
    assert "Nothing was lost: stopped after step 7, resumed after step 7." in out
    assert "(partition low: GraceTime 30 s + KillWait 10 s): that holds." in out


def test_it_waits_for_something_that_could_be_lost(
    run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run.attempts.read_text().splitlines(keepends=True)
    run.attempts.write_text("".join(lines[:-1]))

    def do_a_step() -> None:
        assert not [call for call in cluster.calls if "requeue" in call]
        note(run, 1, "step", time.time(), step=1)

    acting(
        run,
        cluster,
        monkeypatch,
        do_a_step,
        lambda: note(run, 1, "end", time.time(), reason="stopped", step=7),
        lambda: begin(run, 2, time.time(), step=7),
    )
    assert drill.show(run, as_json=False) == 0
    assert "waiting for its first step" in capsys.readouterr().err


def test_a_run_that_does_not_go_on(run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        note(run, 1, "end", time.time(), reason="stopped", step=7, cause="cancelled")
        cluster.says("squeue")

    acting(run, cluster, monkeypatch, end)
    with pytest.raises(DrillError, match="does not go on: stopped, cancelled"):
        drill.drill(run, lambda _text: None)


def test_a_run_whose_next_attempt_fails(run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        note(run, 1, "end", time.time(), reason="stopped", step=7)
        note(run, 2, "end", time.time(), reason="error", detail="ImportError: no")

    acting(run, cluster, monkeypatch, fail)
    with pytest.raises(DrillError, match="attempt 2 ended too: error: ImportError: no"):
        drill.drill(run, lambda _text: None)


def test_a_run_that_finishes_meanwhile(
    run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acting(run, cluster, monkeypatch, lambda: finish(run))
    assert drill.show(run, as_json=False) == 1
    assert "finished before it was stopped" in capsys.readouterr().err


def test_where_a_drill_is_refused(run: Run, cluster: Slurm, tmp_path: Path) -> None:
    cluster.says("squeue", queue(run, "PENDING", "Priority"))
    with pytest.raises(LaunchError, match=r"not running but queued; a drill needs a run at work$"):
        drill.drill(run, lambda _text: None)
    cluster.says("squeue", queue(run, "RUNNING"))
    cluster.says("scontrol", err="Requested operation is presently disabled for job 7\n", code=1)
    with pytest.raises(LaunchError, match="disabled for job 7; a job that may not be requeued"):
        drill.drill(run, lambda _text: None)
    note(run, 1, "end", time.time(), reason="killed")
    with pytest.raises(LaunchError, match="between two attempts"):
        drill.drill(run, lambda _text: None)


def test_submitted_again_as_it_was(tmp_path: Path) -> None:
    run = make(tmp_path / "runs")
    cluster = Cluster(name="local", setup=("module load x",), partition="p", mem_gb=2, **SETTINGS)
    launch = Launch(
        nodes=1, nproc=3, runs_dir=tmp_path / "runs", fresh=False, dry_run=False, port=None, cluster=cluster
    )
    submission(launch, "local", "31", run.slurm / "1").write(run)
    last = newest(run)
    assert last is not None
    plan = plan_again(run, last)
    assert (plan.run, plan.launch, plan.train) == (run, launch, config.load(run.config))
