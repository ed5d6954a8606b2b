import random

import pytest
from optuna.trial import TrialState, create_trial

from dnw.config import ConfigError
from launch.study.space import Choice, Numbers, Params, Space, read, untried


@pytest.mark.parametrize(
    ("word", "found", "said"),
    [
        ("width=interval(0.1,0.5)", Numbers(0.1, 0.5), "0.1 to 0.5"),
        ("optim.lr=tag(log,interval(0.01,1))", Numbers(0.01, 1, log=True), "0.01 to 1 (by their logarithm)"),
        ("batch=int(interval(1,5))", Numbers(1, 5, whole=True), "1 to 5 (whole numbers)"),
        (
            "batch=range(16,65,16)",
            Numbers(16, 64, step=16, whole=True),
            "16 to 64 (whole numbers, in steps of 16)",
        ),
        ("width=range(0.1,0.5,0.1)", Numbers(0.1, 0.4, step=0.1), "0.1 to 0.4 (in steps of 0.1)"),
        ("wiring=dnw,random", Choice(("dnw", "random")), "dnw or random"),
        ("width=choice(0.1,0.2,0.1)", Choice(("0.1", "0.2")), "0.1 or 0.2"),
        ("data.mean=[0.5,0.5],[0.4,0.4]", Choice(("[0.5,0.5]", "[0.4,0.4]")), "[0.5,0.5] or [0.4,0.4]"),
    ],
)
def test_what_may_be_chosen(word: str, found: Numbers | Choice, said: str) -> None:
    space = read([word, "steps=3"])
    assert space == {word.partition("=")[0]: found}
    assert str(found) == said
    assert found.distribution().single() is False


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("width=interval(0.5,0.1)", "the first of the two must be the smaller one"),
        ("width=tag(log,interval(0,1))", "the logarithm needs numbers above 0"),
        ("width=tag(fast,interval(0,1))", "the only tag is log"),
        ("width=tag(log,choice(0.1,1))", "the only tag is log"),
        ("width=shuffle(0.1,1)", "no order to shuffle"),
        ("width=shuffle(range(3))", "no order to shuffle"),
        ("nodes=1,2", "name one value of nodes"),
        ("cluster.partition=a,b", "name one value of cluster.partition"),
        ("+exp=glob(demo_*)", "name one value of exp"),
        ("wiring=glob(d*)", "name the values"),
    ],
)
def test_what_may_not(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read([word])


def test_numbers_have_few_digits_and_keep_their_bounds() -> None:
    numbers = Numbers(0.1, 0.3)
    assert numbers.fit(0.123456789) == 0.123457
    assert numbers.fit(0.3000000001) == 0.3
    assert Numbers(0.1, 0.5, step=0.1).values() == [0.1, 0.2, 0.3, 0.4, 0.5]
    thousandths = read(["steps=range(1000.5,1001,0.125)"])["steps"]
    assert thousandths.values() == [1000.5, 1000.625, 1000.75, 1000.875]
    thirds = read(["width=range(0,1,0.3333333)"])["width"]
    assert thirds.values() == [0.0, 0.3333333, 0.6666666, 0.9999999]
    for some in (thousandths, thirds, read(["width=range(0.5,0.1,-0.1)"])["width"]):
        for value in some.values():  # Optuna refuses what is not of the distribution
            create_trial(
                state=TrialState.RUNNING, params={"x": value}, distributions={"x": some.distribution()}
            )
    assert Numbers(16, 64, step=16, whole=True).values() == [16, 32, 48, 64]


def test_what_has_not_been_tried() -> None:
    space: Space = {"a": Choice(("x", "y")), "b": Numbers(1, 2, whole=True)}
    tried: list[Params] = [{"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y", "b": 1}]
    assert untried(space, tried, random.Random(0)) == {"a": "y", "b": 2}
    assert untried(space, [*tried, {"a": "y", "b": 2}], random.Random(0)) is None
    assert untried({"a": Numbers(0, 1)}, [], random.Random(0)) is None
