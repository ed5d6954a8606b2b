from dataclasses import replace
from pathlib import Path

from run_folder import log, make
from unit.launch.study.conftest import Study

from dnw.runs import jsonl
from launch.study import early_stop, settings
from launch.study.early_stop import Evaluation
from launch.study.record import Trial


def trial(number: int, values: tuple[float, float] | None, *evaluations: float) -> Trial:
    known = dict(enumerate(evaluations, start=1))
    return Trial(number, "complete" if values else "running", {}, values, "", "", "", known, {})


DONE = [trial(0, (50, 100), 20, 30), trial(1, (60, 200), 30, 40), trial(2, (70, 300), 40, 50)]


def test_the_median_of_those_that_cost_no_more(study: Study) -> None:
    of = settings.read(study("hydra.sweeper.startup_trials=3"))
    own = trial(3, None, 35)
    assert early_stop.behind(Evaluation(2, 8, 36.0, 250), own, DONE, of) == ""  # 30, 40
    assert early_stop.behind(Evaluation(2, 8, 36.0, 300), own, DONE, of) == (
        "after step 8: top1 36.00 % at best, the median of 3 that cost no more (macs) is 40.00 %"
    )
    assert early_stop.behind(Evaluation(2, 8, 1.0, 99), trial(3, None, 2), DONE, of) == ""  # none so cheap
    assert early_stop.behind(Evaluation(1, 4, 1.0, 300), trial(3, None), DONE, of) == ""  # warming up
    assert early_stop.behind(Evaluation(2, 8, 1.0, 300), own, DONE[:2], of) == ""  # two have finished
    none = replace(of, typed=replace(of.typed, pruner=None))
    assert early_stop.behind(Evaluation(2, 8, 36.0, 300), own, DONE, none) == ""


def test_one_objective_that_falls(study: Study) -> None:
    of = settings.read(study("hydra.sweeper.objectives=loss", "hydra.sweeper.startup_trials=3"))
    own = trial(3, None, 45)
    assert "loss 45.00 at best, the median of 3 is 40.00" in early_stop.behind(
        Evaluation(2, 8, 46.0, None), own, DONE, of
    )
    assert early_stop.behind(Evaluation(2, 8, 39.0, None), own, DONE, of) == ""


def test_evaluations_count_once_their_cost_is_known_and_not_the_last(study: Study, tmp_path: Path) -> None:
    of, run = settings.read(study()), make(tmp_path / "runs")
    read = early_stop.Log(run)
    assert list(read.evaluations(of)) == []
    log(run, 2, "val", top1=10.0)
    log(run, 2, "wiring", macs=7)
    log(run, 4, "val", top1=None)
    log(run, 4, "wiring", macs=7)
    log(run, 6, "val", top1=30.0)
    assert list(read.evaluations(of)) == [Evaluation(1, 2, 10.0, 7)]
    log(run, 6, "wiring", macs=8)
    log(run, 10, "val", top1=50.0)
    log(run, 10, "wiring", macs=8)
    both = [Evaluation(1, 2, 10.0, 7), Evaluation(3, 6, 30.0, 8)]
    assert list(read.evaluations(of)) == list(early_stop.Log(run).evaluations(of)) == both
    jsonl.keep(run.metrics, lambda line: line["step"] < 3)  # as an attempt does that goes on from there
    assert list(read.evaluations(of)) == both[:1]
