"""Runs side by side."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_folder import finish, log, make, slurm

from dnw.runs.folder import Run
from launch.commands import plot
from launch.commands.compare import common_steps, compare, thinned
from launch.errors import LaunchError
from launch.runs import main


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Run]:
    slurm(tmp_path, monkeypatch)  # whose commands aren't needed
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "runs", "default-aaaaaaaaaa"), make(
        tmp_path / "runs", "optim.lr=0.2-bbbbbbbbbb", optim__lr=0.2, data__mean=[0.5, 0.5, 0.4]
    )


def train(run: Run, *steps: int) -> None:
    for step in steps:
        log(run, step, loss=1 / step, top1=10.0 * step)


def evaluate(run: Run, **top1: float) -> None:
    for step, value in top1.items():
        log(run, int(step[1:]), "val", top1=value, loss=1.0)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The words of each line."""
    assert main(["compare", "aaaa", "bbbb", *words]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_only_what_differs(two: tuple[Run, Run]) -> None:
    left, right = compare(two)
    assert left.settings == {"data.mean": [0.5, 0.5, 0.5], "optim.lr": 0.1}
    assert right.settings == {"data.mean": [0.5, 0.5, 0.4], "optim.lr": 0.2}


def test_results_so_far(two: tuple[Run, Run]) -> None:
    train(two[0], 2, 4)
    evaluate(two[0], s4=33.0)
    log(two[0], 4, "wiring", effective_params=90, effective_macs=800)
    finish(two[1], top1=61.5, params=100, macs=1000)
    left, right = compare(two)
    assert (left.step, left.total, left.loss, left.top1, left.val_top1) == (4, 10, 0.25, 40.0, 33.0)
    assert (left.params, left.macs) == (90, 800)
    assert (right.step, right.val_top1, right.params, right.macs) == (10, 61.5, 100, 1000)


def test_settings_of_another_version_are_compared_all_the_same(two: tuple[Run, Run]) -> None:
    text = two[1].config.read_text()
    two[1].config.write_text(text.replace("version: 1", "version: 2\nbreadth: 3"))
    left, right = compare(two)
    assert (left.settings["version"], right.settings["version"]) == (1, 2)
    assert (left.settings["breadth"], right.settings["breadth"]) == (None, 3)


def test_one_that_cannot_be_read(two: tuple[Run, Run]) -> None:
    two[1].config.write_text("exp: [")
    with pytest.raises(LaunchError, match=r"example/optim.lr=0.2-bbbbbbbbbb: can't be compared; .*damaged"):
        compare(two)


def test_validation_at_common_steps(two: tuple[Run, Run], capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(two[0], s4=30.0, s8=40.0, s12=50.0)
    evaluate(two[1], s4=31.0, s6=99.0, s8=41.0)
    lines = printed(capsys)
    assert lines[0][1:] == ["example/default-aaaaaaaaaa", "example/optim.lr=0.2-bbbbbbbbbb"]
    assert ["optim.lr", "0.1", "0.2"] in lines
    assert ["data.mean", "[0.5,", "0.5,", "0.5]", "[0.5,", "0.5,", "0.4]"] in lines
    assert lines[-2:] == [["4", "30.00", "31.00"], ["8", "40.00", "41.00"]]


def test_the_loss_where_one_was_not_evaluated_yet(
    two: tuple[Run, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    train(two[0], 2, 4)
    train(two[1], 2, 4, 6)
    evaluate(two[0], s4=30.0)
    lines = printed(capsys)
    assert ["Loss"] in lines
    assert lines[-2:] == [["2", "0.5000", "0.5000"], ["4", "0.2500", "0.2500"]]


def test_nothing_logged(two: tuple[Run, Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert "no curves yet" in " ".join(printed(capsys)[-1])


def test_a_step_that_was_done_again_counts_as_it_was_last(two: tuple[Run, Run]) -> None:
    evaluate(two[0], s4=30.0, s8=35.0)
    evaluate(two[0], s4=31.0)
    assert compare(two)[0].curves["val_top1"] == ((4, 31.0), (8, 35.0))


def test_as_json(two: tuple[Run, Run], capsys: pytest.CaptureFixture[str]) -> None:
    train(two[0], 2, 4)
    assert main(["compare", "aaaa", "bbbb", "--json"]) == 0
    left, right = json.loads(capsys.readouterr().out)
    assert left["curves"] == {"val_top1": [], "train_loss": [[2, 0.5], [4, 0.25]]}
    assert (right["run"], right["settings"]["optim.lr"]) == (two[1].name, 0.2)


def test_drawn(two: tuple[Run, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(two[0], 2, 4)
    evaluate(two[0], s4=30.0)
    printed(capsys, "--plot", "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["aaaa"], "compare: name two runs or more"),
        (["aaaa", "aaaa"], "compare: name two runs or more"),
        (["aaaa", "bbbb", "--plot", "curves"], "--plot: curves names no kind of picture"),
    ],
)
def test_refused(
    two: tuple[Run, Run], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["compare", *words]) == 2
    assert capsys.readouterr().err.startswith(said)


def test_without_matplotlib(
    two: tuple[Run, Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    assert main(["compare", "aaaa", "bbbb", "--plot", "curves.png"]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("curves", "steps"),
    [
        ([[2, 4, 6], [4, 6, 8]], [4, 6]),
        ([[2, 4, 6, 8], [3, 5, 7]], [3, 5, 7]),  # none in common: those of the shorter one
        ([[10, 20], [1, 2, 3]], []),  # one ended before the other began
    ],
)
def test_common_steps(curves: list[list[int]], steps: list[int]) -> None:
    assert common_steps([tuple((step, 0.0) for step in curve) for curve in curves]) == steps


@pytest.mark.parametrize(
    ("steps", "kept"),
    [(range(3), [0, 1, 2]), (range(101), [0, 25, 50, 75, 100]), (range(6), [0, 1, 2, 4, 5])],
)
def test_thinned(steps: Any, kept: list[int]) -> None:
    assert thinned(steps, 5) == kept
