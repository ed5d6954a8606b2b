"""What a submission tells of runs that may be launched: earlier ones, and too few cores."""

from pathlib import Path

import pytest
import yaml
from login_node import Captured, Typed, runs

from dnw import config
from dnw.config import Train
from launch.earlier_run import LONGEST_NAME


def test_the_same_words_with_other_defaults(
    typed: Typed, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed() == 0
    (first,) = runs(tmp_path)
    assert "note" not in capfd.readouterr().out
    parse = config.parse

    def with_other_defaults(values: dict[str, object]) -> Train:
        typed_here = values["micro_batch"] != 64  # by whom goes on with the earlier one
        return parse(values | ({} if typed_here else {"micro_batch": 32, "precision": "bf16"}))

    monkeypatch.setattr(config, "parse", with_other_defaults)
    assert typed("dry_run=true") == 0
    said = (
        f"a new run: {first.name}, which the same words made earlier, has other settings; "
        "type also micro_batch=64 precision=fp32 to go on with that one\n"
    )
    assert said in capfd.readouterr().out
    assert typed() == 0
    assert said in capfd.readouterr().out
    monkeypatch.setattr(config, "parse", parse)
    assert typed("micro_batch=64", "precision=fp32") == 0  # as it says
    assert "note" not in capfd.readouterr().out
    assert len(runs(tmp_path)) == 2


def test_runs_whose_words_do_not_fit_into_their_names_are_not_taken_for_each_other(
    typed: Typed, tmp_path: Path, capfd: Captured
) -> None:
    long = [
        *("batch=32", "checkpoint.keep=7", "data.augment=none", "data.image_size=32", "eval_batch=50"),
        *("micro_batch=16", "optim.lr=0.01", "optim.momentum=0.8", "optim.nesterov=true"),
    ]
    for wiring in ("dnw", "random"):
        assert typed(*long, f"wiring={wiring}") == 0
        assert "note" not in capfd.readouterr().out
    first, second = runs(tmp_path)
    assert first.name[:LONGEST_NAME] == second.name[:LONGEST_NAME]


def test_runs_of_a_sweep_have_names_that_tell_them_apart(typed: Typed, tmp_path: Path) -> None:
    long = [
        *("batch=32", "checkpoint.keep=7", "data.augment=none", "data.image_size=32", "eval_batch=50"),
        *("micro_batch=16", "optim.lr=0.01", "optim.momentum=0.8", "optim.nesterov=true"),
    ]
    assert typed("-m", *long, "wiring=dnw,random") == 0
    swept = runs(tmp_path)
    assert [run.folder.name.partition(",")[0] for run in swept] == ["wiring=dnw", "wiring=random"]
    assert typed(*long, "wiring=random") == 0, "typed alone it is the same run"
    assert [run.folder for run in runs(tmp_path)] == [run.folder for run in swept]


def test_what_the_code_of_a_run_does_not_know_is_told(
    typed: Typed, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:1")
    assert typed() == 0
    (run,) = runs(tmp_path)
    values = config.read(run.config)
    del values["track"]
    run.config.write_text(yaml.safe_dump(values))
    capfd.readouterr()
    said = "track: this run keeps code of an earlier version, which knows no such setting: code=new, or "
    assert typed("track=[tensorboard,mlflow]", "dry_run=true") == 0
    assert f"{said}python launch/runs.py track {run.folder} --to mlflow\n" in capfd.readouterr().out
    for words in (["track=[tensorboard]"], ["track=[mlflow]", "code=new"], ["checkpoint.keep=7"]):
        assert typed(*words, "dry_run=true") == 0
        assert "knows no such setting" not in capfd.readouterr().out


def test_a_run_that_was_renamed_does_not_begin_anew(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("seed=3") == 0
    (first,) = runs(tmp_path)
    renamed = first.folder.rename(first.folder.with_name("my best"))
    assert typed("seed=4") == 0, "that is another one"
    assert typed("seed=3") == 2
    said = f"{renamed}: this run, under a name without its signature. To go on with it: mv '{renamed}' "
    assert f"{said}{first.folder}; fresh=true begins another\n" in capfd.readouterr().err
    assert typed("seed=3", "fresh=true") == 0
    assert [path.name for path in (renamed, first.folder) if path.exists()] == ["my best", first.folder.name]


def test_a_renamed_run_goes_on_under_its_own_name(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed() == 0
    (first,) = runs(tmp_path)
    first.folder.rename(first.folder.with_name("mine"))
    assert typed() == 2
    first.folder.with_name("mine").rename(first.folder)  # as it says
    assert typed() == 0
    assert "Traceback" not in capfd.readouterr().err
    assert len(runs(tmp_path)) == 1


def test_an_earlier_run_that_cannot_be_read_is_named(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed() == 0
    (first,) = runs(tmp_path)
    first.config.write_text("[")
    first.folder.rename(first.folder.with_name("default-0123456789"))
    assert typed() == 0
    assert "note    static_dnw/default-0123456789 has the same words, and can't be read: " in (
        capfd.readouterr().out
    )
