"""Studies on a cluster that is played; tests/slurm/test_sweep.py has a real one."""

from __future__ import annotations

import dataclasses
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from login_node import Captured
from run_folder import note
from unit.launch.study.conftest import Cluster, Study, goes_on, top1, use

from launch.cluster.submission import submission
from launch.errors import LaunchError
from launch.node import exit_reason, signals
from launch.node.signals import StopRequests
from launch.query.run_status import query_status
from launch.study import driver, early_stop, record, settings, table, trials
from launch.study.driver import Driver
from launch.study.record import Study as Record


def shown(folder: Path) -> list[table.Row]:
    return table.rows(record.look(folder))


ONE_AT_ONCE = "cluster.array_parallelism=1"
FEW = (ONE_AT_ONCE, "hydra.sweeper.n_trials=5", "hydra.sweeper.startup_trials=2")


def test_a_study_from_its_first_trial_to_its_last(study: Study, played: Cluster, capfd: Captured) -> None:
    composed = study(*FEW)
    assert goes_on(composed, played) == 0
    folder = settings.read(composed).folder
    rows = shown(folder)
    assert [row.trial for row in rows] == list(range(5))
    assert [row.run for row in rows] == played.started
    for row in rows:
        assert row.state == "complete"
        assert row.values == {"top1": top1(row.params["width"], 12), "macs": round(1e8 * row.params["width"])}
        assert row.is_best
    assert "trial 4: done, top1 " in capfd.readouterr().out
    assert goes_on(composed, played) == 0
    assert len(played.started) == 5
    more = study(ONE_AT_ONCE, "hydra.sweeper.n_trials=6", "hydra.sweeper.startup_trials=2")
    assert goes_on(more, played) == 0
    assert shown(folder)[:5] == rows
    assert len(shown(folder)) == 6


def slower_when_wide(width: float, step: int) -> float:
    return round(100 * (1 - width) + step, 2)


def test_a_trial_that_falls_behind_is_stopped_and_its_run_can_go_on(
    study: Study, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    played = use(Cluster(slower_when_wide), monkeypatch)
    composed = study(*FEW, "hydra.sweeper.warmup_evaluations=0")
    assert goes_on(composed, played) == 0
    rows = shown(settings.read(composed).folder)
    pruned = [row for row in rows if row.state == "pruned"]
    assert [row.run for row in pruned] == played.stopped
    for row in pruned:
        assert row.params["width"] > min(one.params["width"] for one in rows[: row.trial])
        assert "after step 4: top1 " in row.note
        assert "that cost no more (macs)" in row.note
    assert pruned
    assert "stopped early, after step 4" in capfd.readouterr().out
    assert goes_on(composed, played) == 0
    assert [row.run for row in pruned] == played.stopped


class Killed(BaseException):
    """As SIGKILL: nothing is cleaned up but what the kernel does."""


WRITES = ("add", "report", "fell_behind", "complete", "pruned", "keep")


def test_killed_at_any_point_and_typed_again(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before each of its writes, and each time that it hands over a run."""
    composed = study(*FEW, "hydra.sweeper.warmup_evaluations=0", "hydra.sweeper.n_trials=4")
    undisturbed = use(Cluster(slower_when_wide), monkeypatch)
    assert goes_on(composed, undisturbed) == 0
    folder = settings.read(composed).folder
    rows = shown(folder)
    assert {row.state for row in rows} == {"complete", "pruned"}

    done, kill_at = 0, -1

    def killing(function: Any) -> Any:
        def act(*given: Any) -> Any:
            nonlocal done
            done += 1
            if done == kill_at:
                raise Killed
            return function(*given)

        return act

    for name in WRITES:
        monkeypatch.setattr(Record, name, killing(getattr(Record, name)))
    place = 0
    while done >= kill_at:
        place, done, kill_at = place + 1, 0, place + 1
        (tmp_path / "runs").rename(tmp_path / f"runs-{place}")
        played = use(Cluster(slower_when_wide), monkeypatch)
        start = played.start
        monkeypatch.setattr(played, "start", killing(start))
        try:
            assert goes_on(composed, played) == 0
            break
        except Killed:
            monkeypatch.setattr(played, "start", start)
            kill_at, killed_at = -1, kill_at
        assert goes_on(composed, played) == 0
        assert shown(folder) == rows, killed_at
        assert sorted(played.started) == sorted(set(played.started))
        done, kill_at = killed_at, killed_at
    assert place > 15


def test_a_failure_is_told_and_others_go_on(study: Study, played: Cluster) -> None:
    composed = study(*FEW)
    played.fails = {1}
    assert goes_on(composed, played) == 1
    rows = shown(settings.read(composed).folder)
    assert [row.state for row in rows] == ["complete", "fail", *["complete"] * 3]
    assert rows[1].note == "failed: error: no memory"
    assert goes_on(composed, played) == 1
    assert len(played.started) == 5


def test_as_many_at_once_as_allowed(study: Study, played: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    start = played.start

    def counted(plans: Any) -> int:
        sizes.append(len(plans))
        return start(plans)

    monkeypatch.setattr(played, "start", counted)
    assert goes_on(study("hydra.launcher.array_parallelism=3", "hydra.sweeper.n_trials=5"), played) == 0
    assert sizes[0] == 3
    assert sum(sizes) == 5


def test_a_run_that_somebody_stops_stays_until_the_line_is_typed_again(
    study: Study, played: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    composed = study(*FEW, "hydra.sweeper.n_trials=2")
    look, is_stopped = played.look, False

    def stopping(runs: Any) -> Any:
        nonlocal is_stopped
        found = look(runs)
        if played.started and not is_stopped and found[0]:
            is_stopped = True
            played.stop(found[0])
        return found

    monkeypatch.setattr(driver, "query_status", stopping)
    assert goes_on(composed, played) == 1
    assert "was stopped; type the same again to resume it" in capfd.readouterr().out
    assert [row.state for row in shown(settings.read(composed).folder)] == ["running", "complete"]
    assert goes_on(composed, played) == 0
    assert played.started[0] == played.started[2]
    assert [row.state for row in shown(settings.read(composed).folder)] == ["complete", "complete"]


def test_a_run_that_broke_off_without_a_word_goes_on(
    study: Study, played: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed, start = study(*FEW, "hydra.sweeper.n_trials=2"), played.start

    def broken(plans: Any) -> int:
        start(plans)
        played.vanish()
        raise Killed

    monkeypatch.setattr(played, "start", broken)
    with pytest.raises(Killed):
        goes_on(composed, played)
    monkeypatch.setattr(played, "start", start)
    assert goes_on(composed, played) == 0
    assert played.started[0] == played.started[1]
    assert [row.state for row in shown(settings.read(composed).folder)] == ["complete", "complete"]


def test_every_combination_once(study: Study, played: Cluster, capfd: Captured) -> None:
    composed = study("width=choice(0.1,0.2,0.3)", ONE_AT_ONCE, "hydra.sweeper.n_trials=9")
    for _ in range(2):  # what is typed again is what the journal has
        assert goes_on(composed, played) == 0
    assert sorted(name.partition("width=")[2][:3] for name in played.started) == ["0.1", "0.2", "0.3"]
    assert "every combination of values has been tried" in capfd.readouterr().out


def test_values_that_make_no_run_are_told(study: Study, played: Cluster) -> None:
    composed = study("width=choice(0.1,0.2,0.9)", ONE_AT_ONCE)
    assert goes_on(composed, played) == 1
    rows = shown(settings.read(composed).folder)
    (failed,) = [row for row in rows if row.state == "fail"]
    assert failed.note.startswith("width: at most 0.414 of all edges")
    assert (failed.trial > 0, failed.run, len(played.started)) == (True, "", 2)


def test_one_run_is_one_trial(study: Study, played: Cluster) -> None:
    composed = study("width=0.1", "data.workers=choice(1,2)", ONE_AT_ONCE)
    assert goes_on(composed, played) == 1
    rows = shown(settings.read(composed).folder)
    assert [row.state for row in rows] == ["complete", "fail"]
    assert rows[1].note == "the same run as trial 0"
    assert len(played.started) == 1


def test_where_all_fail_it_ends_before_all_trials_are_spent(
    study: Study, played: Cluster, capfd: Captured
) -> None:
    composed = study(*FEW)
    played.fails = {0, 1, 2}
    assert goes_on(composed, played) == 1
    assert "3 trials have failed and none is done, so no more begin" in capfd.readouterr().out
    assert len(played.started) == 3
    assert goes_on(composed, played) == 1  # mended
    assert [row.state for row in shown(settings.read(composed).folder)] == [*["fail"] * 3, *["complete"] * 2]


def test_a_slurm_that_does_not_answer_for_a_while_is_waited_for(
    study: Study, played: Cluster, capfd: Captured
) -> None:
    composed = study(*FEW, "hydra.sweeper.n_trials=2")
    of, start = settings.read(composed), played.start
    hiccups = [
        "sbatch: no answer within 20 s; squeue: no answer within 20 s: nobody knows whether",
        "a/b: squeue: Unable to contact slurm controller (connect failure), so nobody knows whether",
    ]

    def unsteady(plans: Any) -> int:
        if hiccups:
            raise LaunchError(hiccups.pop())
        return start(plans)

    def refusing(plans: Any) -> int:
        raise LaunchError("cluster.partition: no such")

    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        with pytest.raises(LaunchError, match="no such"):
            Driver(of, opened, in_foreground=False).run_in_background(refusing)
        assert Driver(of, opened, in_foreground=False).run_in_background(unsteady) == 0
    printed = capfd.readouterr().out
    assert printed.count("waiting until Slurm answers") == printed.count("Slurm answers again") == 1
    assert len(played.started) == 2


def test_what_is_edited_meanwhile_is_told_once(
    study: Study, played: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setattr(trials, "note_of_code", lambda _, known: "edited" if known.trials() else "")
    assert goes_on(study(*FEW, "hydra.sweeper.n_trials=3"), played) == 0
    assert capfd.readouterr().out.count("note    edited") == 1


def test_ctrl_c_ends_the_waiting_not_the_runs(study: Study, played: Cluster, capfd: Captured) -> None:
    composed = study(*FEW)
    of = settings.read(composed)
    before = signal.getsignal(signal.SIGINT)

    def start(plans: Any) -> int:
        code = played.start(plans)
        signal.raise_signal(signal.SIGINT)
        return code

    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        assert Driver(of, opened, in_foreground=False).run_in_background(start) == 130
    assert "type the same again to follow the study" in capfd.readouterr().out
    assert signal.getsignal(signal.SIGINT) == before
    assert goes_on(composed, played) == 0
    assert len(played.started) == 5


def test_in_the_foreground_one_after_the_other(
    study: Study, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    """A trial that falls behind is asked to stop by a signal to this process, as Ctrl-C would."""
    played = use(Cluster(slower_when_wide), monkeypatch)
    monkeypatch.setattr(early_stop, "LOOK_S", 0.01)
    composed = study(*FEW, "hydra.sweeper.warmup_evaluations=0")
    of = settings.read(composed)
    before = signal.getsignal(signal.SIGTERM)

    def work(plans: Any) -> int:
        asked: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        played.start(plans)
        run = plans[0].run
        while not asked and not run.result.exists():
            signal.sigtimedwait([], 0.01)
        if asked:
            played.stop(played.look([run])[0])
            return 75
        return 0

    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        assert Driver(of, opened, in_foreground=True).run_in_foreground(work) == 0
    rows = shown(of.folder)
    assert {row.state for row in rows} == {"complete", "pruned"}
    assert [row.run for row in rows if row.state == "pruned"] == played.stopped
    assert capfd.readouterr().out.count("stopped early") == len(played.stopped)
    assert [(one.steps.keys(), len(one.steps)) for one in record.look(of.folder).trials()] == [
        (one.evaluations.keys(), len(one.evaluations)) for one in record.look(of.folder).trials()
    ]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("falls_behind", [False, True])
@pytest.mark.parametrize("is_saved", [False, True])
def test_in_the_foreground_a_run_that_is_interrupted_goes_on(
    study: Study, played: Cluster, is_saved: bool, falls_behind: bool
) -> None:
    """Ctrl-C, and Ctrl-C again before it has saved: no failure; right after it fell behind: no next trial."""
    of = settings.read(study(*FEW, "hydra.sweeper.n_trials=1"))
    before = [signal.getsignal(number) for number in signals.SIGNALS]

    def interrupted(plans: Any) -> int:
        StopRequests(impatient=False).listen()
        played.start(plans)
        (status,), _ = query_status([plans[0].run])
        signal.raise_signal(signal.SIGINT)
        if falls_behind:
            opened.fell_behind(opened.trials()[0], "after step 4")
        if is_saved:
            played.stop([status])
            return 75
        detail = f"{exit_reason.UNSAVED} after SIGINT"
        note(status.run, 1, "start", time.time(), step=0)
        note(status.run, 1, "end", time.time(), reason="killed", by="launcher", detail=detail)
        played.vanish()
        return 1

    def finished(plans: Any) -> int:
        played.start(plans)
        while not plans[0].run.result.exists():
            played.look([plans[0].run])
        return 0

    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        code = Driver(of, opened, in_foreground=True).run_in_foreground(interrupted)
        assert code == (75 if is_saved else 1)
        assert [one.state for one in opened.trials()] == ["running"]
        assert [signal.getsignal(number) for number in signals.SIGNALS] == before
        assert Driver(of, opened, in_foreground=True).run_in_foreground(finished) == 0
        assert [one.state for one in opened.trials()] == ["pruned" if falls_behind else "complete"]


def test_a_run_that_died_on_another_machine_is_not_waited_for(study: Study, played: Cluster) -> None:
    of = settings.read(study(*FEW, "hydra.sweeper.n_trials=1"))

    def gone(plans: Any) -> int:
        played.start(plans)
        made = submission(plans[0].launch, "local", "7", plans[0].run.slurm)
        dataclasses.replace(made, host="another").write(plans[0].run)
        played.vanish()
        raise Killed

    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        with pytest.raises(Killed):
            Driver(of, opened, in_foreground=False).run_in_background(gone)
        assert Driver(of, opened, in_foreground=False).run_in_background(played.start) == 0
    assert len(played.started) == 2


def test_in_the_foreground_ctrl_c_ends_the_study(study: Study, played: Cluster) -> None:
    of = settings.read(study(*FEW))
    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        assert Driver(of, opened, in_foreground=True).run_in_foreground(lambda _: 75) == 75
    assert [row.state for row in shown(of.folder)] == ["running"]


def test_two_cannot_go_on_with_one_study(study: Study, played: Cluster) -> None:
    composed = study(*FEW)
    of = settings.read(composed)
    with (
        record.opened(of.folder, of.directions),
        pytest.raises(LaunchError, match=r"process \d+ on .* goes on with it"),
    ):
        goes_on(composed, played)
