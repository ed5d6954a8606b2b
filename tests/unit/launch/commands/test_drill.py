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
from dnw.runs.ledger import Attempt
from launch.cluster.submission import newest, submission
from launch.commands import drill
from launch.commands.drill import DrillError, plan_again
from launch.commands.drill_report import Deadline, DrillReport, Marks, deadlines
from launch.config import Cluster, Launch
from launch.errors import LaunchError
from launch.scheduler.stop_grace import Grants

GRANTED = "PartitionName=low GraceTime=30 State=UP\nKillWait                = 10 sec\n"
SETTINGS: dict[str, Any] = {"timeout_min": 60, "signal_delay_s": 180, "grace_s": 120}


def attempt(number: int, **events: dict[str, Any]) -> Attempt:
    return Attempt(number, **{name: {"attempt": number, **facts} for name, facts in events.items()})


def drill_report(**changes: Any) -> DrillReport:
    """Stopped at 100 s, going on at 160 s."""
    second = attempt(
        2,
        claim={"time": 150.0, "job": "7"},
        start={"time": 157.5, "step": 12},
        step={"time": 160.0, "step": 13},
    )
    facts: dict[str, Any] = {
        "run": "exp/name",
        "job": "7",
        "first": attempt(1, end={"time": 103.0, "reason": "stopped", "step": 12}),
        "second": second,
        "saved": 102.0,
        "reached": 12,
        "marks": Marks(asked=100.0, gone=110.0, granted=149.0, reasons=("BeginTime", "Priority")),
        "deadlines": (Deadline(40, "low"), Deadline(120, "cluster.grace_s")),
    }
    return DrillReport(**{**facts, **changes})


def test_the_seconds_of_each_part() -> None:
    found = drill_report()
    assert [(phase.name, phase.seconds) for phase in found.phases] == [
        ("signal to saved", 2.0),
        ("saved to out of the way", 8.0),
        ("waiting in the queue", 39.0),
        ("nodes granted to run claimed", 1.0),
        ("claimed to checkpoint loaded", 7.5),
        ("loaded to first step done", 2.5),
        ("in all", 60.0),
    ]
    assert sum(phase.seconds or 0 for phase in found.phases[:-1]) == found.phases[-1].seconds
    assert (found.steps_lost, found.holds) == (0, True)
    assert found.summary() == [
        "Nothing was lost: stopped after step 12, resumed after step 12.",
        "Saving took 2.0 of 40 s (low): that holds.",
        "Saving took 2.0 of 120 s (cluster.grace_s): that holds.",
    ]
    plain = found.plain()
    assert (plain["saving_s"], plain["waiting_s"], plain["total_s"]) == (2.0, 39.0, 60.0)
    assert (plain["steps_lost"], plain["step_resumed"], plain["holds"]) == (0, 12, True)
    assert plain["waited_for"] == ["BeginTime", "Priority"]
    json.dumps(plain)


def test_saving_that_takes_too_long_for_a_preemption() -> None:
    found = drill_report(saved=141.0, marks=Marks(100.0, 145.0, 149.0))
    assert found.holds is False
    assert "Saving took 41.0 of 40 s (low): TOO LONG." in found.summary()


def test_killed_before_it_had_saved() -> None:
    first = attempt(1, end={"time": 110.0, "reason": "killed"})
    found = drill_report(first=first, saved=None, reached=19)
    assert (found.steps_lost, found.holds, found.saving_s) == (7, False, None)
    assert found.phases[1].seconds == 10.0  # from the signal, then
    assert found.summary() == [
        "7 steps were lost: stopped after step 19 (killed), resumed after step 12. "
        "checkpoint.every_minutes, or checkpoint.every=auto, bounds that.",
        "It was not saved in time; it had at most 40 s (low) and 120 s (cluster.grace_s).",
    ]


def test_what_was_too_quick_to_be_seen() -> None:
    found = drill_report(marks=Marks(100.0, None, None), deadlines=())
    assert [phase.seconds for phase in found.phases] == [2.0, None, None, None, 7.5, 2.5, 60.0]
    assert found.holds is None
    assert found.summary()[1] == "No save deadline is known on this cluster."


def test_nodes_noticed_only_after_the_run_had_claimed_them() -> None:
    """squeue is asked twice a second."""
    phases = drill_report(marks=Marks(100.0, 110.0, 150.4)).phases
    assert (phases[2].seconds, phases[3].seconds) == (40.0, 0.0)


@pytest.mark.parametrize(
    ("grants", "grace_s", "found"),
    [
        (None, None, []),
        (None, 120, [(120, "cluster.grace_s")]),
        (Grants("low", 30, 10), None, [(40, "partition low: GraceTime 30 s + KillWait 10 s")]),
        (Grants("low", None, 10), None, [(10, "partition low: KillWait 10 s")]),
        (Grants("low"), 60, [(60, "cluster.grace_s")]),
    ],
)
def test_deadlines(grants: Grants | None, grace_s: int | None, found: list[tuple[int, str]]) -> None:
    assert [(one.seconds, one.said_by) for one in deadlines(grants, grace_s)] == found


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
