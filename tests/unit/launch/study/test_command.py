"""What is typed and printed; the study itself is in test_driver.py."""

import sys
from pathlib import Path

import pytest
from login_node import Captured, Typed

from launch import app
from launch.study import driver
from launch.study.driver import Driver

WORDS = ("-m", "hydra/sweeper=optuna", "width=interval(0.02,0.9)", "hydra.sweeper.n_trials=3")


def test_a_dry_run_shows_it_and_writes_nothing(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed(*WORDS, "dry_run=true", "cluster.array_parallelism=2") == 0
    printed = capfd.readouterr().out
    for line in (
        "looks   for top1 (maximize), macs (minimize)",
        "chooses width: 0.02 to 0.9",
        "trials  3, 2 at once, by tpe with seed 0",
        "note    width: at most 0.414 of all edges",
        "#SBATCH --nodes=1",
    ):
        assert line in printed
    assert not (tmp_path / "runs").exists()


def test_trials_go_the_way_of_all_runs(
    typed: Typed, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    """Two at once make one array; typed again while they wait in the queue, they are found."""
    turns, turn = 0, Driver.turn

    def once(driver: Driver, start: driver.Start) -> bool:
        nonlocal turns
        turns += 1
        return turn(driver, start) if turns % 2 else False

    monkeypatch.setattr(Driver, "turn", once)
    monkeypatch.setattr(driver, "POLL_S", 0.0)
    words = ["-m", "hydra/sweeper=optuna", "width=interval(0.02,0.4)", "hydra.launcher.array_parallelism=2"]
    assert typed(*words, "cluster.partition=low") == 1
    script = (lab / "script-0").read_text()
    assert "#SBATCH --array=0-1%" in script
    assert "#SBATCH --partition=low" in script
    assert capfd.readouterr().out.count("was stopped") == 2
    text = (lab / "bin" / "squeue").read_text()
    (lab / "bin" / "squeue").write_text(text.replace('"--jobs=4711 "', '"--jobs=4711_"'))
    queue = [f"4711_{index}|PENDING|Priority||low|2000000000|N/A|x" for index in range(2)]
    (lab / "queue").write_text("\n".join(queue) + "\n")
    typed(*words, "cluster.partition=low")
    assert not (lab / "script-1").exists()


def test_optuna_is_not_imported_elsewhere(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    assert typed("dry_run=true") == 0
    assert typed(*WORDS, "dry_run=true") == 0
    assert typed("-m", "width=0.1,0.2") == 0
    assert "optuna" not in sys.modules
    assert app.main is not None
