import math

from launch.study import outcome
from launch.study.record import Trial


def trial(number: int, *values: float) -> Trial:
    return Trial(number, "complete" if values else "fail", {}, values or None, "", "", "why", {}, {})


def test_the_front() -> None:
    points = [(50, 100), (60, 100), (60, 200), (70, 300), (65, 300), (60, 100)]
    trials = [trial(number, *point) for number, point in enumerate(points)]
    assert [one.number for one in outcome.front([*trials, trial(9)], ["maximize", "minimize"])] == [1, 3, 5]
    assert [one.number for one in outcome.front([trial(0, 2.0), trial(1, 1.0)], ["minimize"])] == [1]


def test_values_of_a_result() -> None:
    assert outcome.values_of({"top1": 61.5, "macs": 7}, ["top1", "macs"]) == ([61.5, 7.0], "")
    for result in ({}, {"loss": None}, {"loss": math.nan}):
        assert outcome.values_of(result, ["loss"]) == ([], "result.json has no finite loss")


def test_in_words() -> None:
    names = ["top1", "macs", "loss"]
    assert outcome.describe(trial(3, 61.5, 2.5e6, 1.5), names) == (
        "trial 3: done, top1 61.50 %, macs 2.5M, loss 1.5000"
    )
    assert outcome.describe(trial(3), names) == "trial 3: why"
