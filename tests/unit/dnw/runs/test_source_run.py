"""Which finished run another begins with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from example import train

from dnw.config import ConfigError, dump, load
from dnw.identity import signature
from dnw.runs import ledger
from dnw.runs.folder import Run, step_path
from dnw.runs.source_run import resolve_source_run
from launch import prepare
from launch.compose import Composed


def source(runs_dir: Path, name: str = "default-0123456789", *, done: bool = True, **changes: Any) -> Run:
    """A run of cifar_complete."""
    run = Run(runs_dir / "cifar_complete" / name)
    run.checkpoints.mkdir(parents=True)
    values = {"model__name": "mobilenet", "wiring__name": "complete", **changes}
    run.config.write_text(dump(train(exp="cifar_complete", **values)))
    (run.checkpoints / "init.pt").touch()
    step_path(run.checkpoints, 7).touch()
    if done:
        run.result.write_text(json.dumps({"steps": 7}))
    return run


def resolved(runs_dir: Path, named: str = "cifar_complete", **changes: Any) -> Run:
    """The run that fine_tune begins with."""
    values = {"model__name": "mobilenet", "wiring__name": "fine_tune", "wiring__source": named, **changes}
    wiring = resolve_source_run(train(**values), runs_dir).wiring
    run = Run(Path(wiring.source))
    assert run.folder.is_absolute()
    assert wiring.source_signature == signature(load(run.config))
    return run


def refused(runs_dir: Path, named: str = "cifar_complete", **changes: Any) -> str:
    with pytest.raises(ConfigError) as error:
        resolved(runs_dir, named, **changes)
    return str(error.value)


def test_an_experiment_stands_for_its_run_that_fits(tmp_path: Path) -> None:
    source(tmp_path, "other-seed", seed=1)
    source(tmp_path, "not-complete", wiring__name="dnw")
    source(tmp_path, "unfinished", done=False)
    source(tmp_path, ".preparing-x")
    source(tmp_path, "default-0123456789.old-20260101-000000-000")
    run = source(tmp_path, "right", optim__lr=0.2, width=0.3)
    assert resolved(tmp_path) == run
    assert resolved(tmp_path, width=0.4, optim__weight_decay=0.0) == run


def test_a_run_that_has_diverged_is_no_source(tmp_path: Path) -> None:
    run = source(tmp_path, done=False)
    ledger.claim(run, 1, job="-", restart=0)
    ledger.end(run, 1, "diverged", step=8, detail="the loss of step 7 is not finite", diverged={})
    said = f"wiring.source: {run.folder} has diverged; its command, typed again, says what helps"
    assert refused(tmp_path, str(run.folder)) == said
    assert refused(tmp_path) == said


def test_a_folder_or_a_runs_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = source(tmp_path, "first"), source(tmp_path, "second")
    assert resolved(tmp_path / "elsewhere", str(first.folder)) == first
    assert resolved(tmp_path, "cifar_complete/second") == second
    monkeypatch.chdir(first.folder.parent)
    assert resolved(tmp_path, "first") == first


def test_other_wirings_have_no_source(tmp_path: Path) -> None:
    assert resolve_source_run(train(), tmp_path) == train()


def test_without_a_run_the_line_is_told_that_makes_one(tmp_path: Path) -> None:
    text = refused(tmp_path, seed=3, model__small=True)
    assert text == (
        f"wiring.source: no run of cifar_complete is in {tmp_path / 'cifar_complete'}\n"
        "Train it first:\n"
        "  python launch/slurm.py +exp=cifar_complete data=fashion_mnist model.small=True "
        "'data.mean=[0.5,0.5,0.5]' 'data.std=[0.25,0.25,0.25]' seed=3 data.dir=data/fashion_mnist "
        f"runs_dir={tmp_path}"
    )


def test_the_line_can_be_typed(tmp_path: Path) -> None:
    """What it makes is what was asked for."""
    from dnw.compose import training

    words = refused(tmp_path, seed=3, model__small=True, wiring__reference_quirks=True).split("slurm.py ")[1]
    made = training([word for word in shlex.split(words) if not word.startswith("runs_dir")])
    run = source(tmp_path, "made")
    run.config.write_text(dump(made))
    assert resolved(tmp_path, seed=3, model__small=True, wiring__reference_quirks=True) == run


def test_where_none_fits_each_says_why(tmp_path: Path) -> None:
    run = source(tmp_path, seed=1, data__classes=7)
    text = refused(tmp_path)
    assert text.startswith("wiring.source: none of the runs of cifar_complete fits this one\n")
    assert f"  {run.folder}: data.classes is 7 there, 10 here; seed is 1 there, 0 here\n" in text
    assert "+exp=cifar_complete" in text.splitlines()[-1]


def test_other_images_dont_fit(tmp_path: Path) -> None:
    source(tmp_path, data__train_fingerprint="a" * 64)
    text = refused(tmp_path, data__train_fingerprint="b" * 64)
    assert f"data.train_fingerprint is {'a' * 16} there, {'b' * 16} here" in text


def test_the_width_of_mobilenet_v1_is_its_size(tmp_path: Path) -> None:
    both: dict[str, Any] = {"model__name": "mobilenet_v1", "sparsity": None}
    source(tmp_path, width=0.5, **both)
    assert "width is 0.5 there, 0.25 here" in refused(tmp_path, **both | {"sparsity": 0.5}, width=0.25)


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    run = source(tmp_path, done=False)
    expected = f"wiring.source: {run.folder} has not finished; type its command again to go on with it"
    assert refused(tmp_path) == refused(tmp_path, str(run.folder)) == expected


@pytest.mark.parametrize("lost", ["init.pt", "step-00000007.pt"])
def test_a_run_whose_weights_are_lost_is_no_source(tmp_path: Path, lost: str) -> None:
    run = source(tmp_path)
    (run.checkpoints / lost).unlink()
    assert "has not finished" in refused(tmp_path)


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    first, second = source(tmp_path, "first"), source(tmp_path, "lr=0.2-0123456789", optim__lr=0.2)
    text = refused(tmp_path)
    assert "several finished runs of cifar_complete fit; name one of them:" in text
    assert f"\n  wiring.source={first.folder}\n  'wiring.source=\"{second.folder}\"'" in text


def test_a_folder_that_doesnt_fit_says_why(tmp_path: Path) -> None:
    run = source(tmp_path, wiring__name="dnw", seed=2, data__classes=3, data__image_size=64)
    assert refused(tmp_path, str(run.folder)) == (
        f"wiring.source: {run.folder} doesn't fit this run: its wiring is dnw, not complete; "
        "data.image_size is 64 there, 32 here; data.classes is 3 there, 10 here; and 1 more"
    )


def test_no_folder_and_no_experiment(tmp_path: Path) -> None:
    expected = "is neither a run folder nor an experiment; did you mean cifar_complete?"
    assert refused(tmp_path, "cifar_compleet") == f"wiring.source: cifar_compleet {expected}"
    assert "runs/nothing is neither a run folder" in refused(tmp_path, "runs/nothing")


def test_the_source_is_frozen_with_the_run(tmp_path: Path, launch_shards: Path) -> None:
    """And makes it another run, wherever it lies."""
    from dnw import config
    from dnw.compose import training

    def plan(exp: str, runs: str, *words: str) -> prepare.RunPlan:
        values = config.plain(training([f"+exp={exp}", f"data.dir={launch_shards}", *words]))
        cluster = {"name": "slurm", "timeout_min": 60, "signal_delay_s": 120, "grace_s": 60}
        launch = {"nodes": 1, "nproc": 1, "fresh": False, "dry_run": False, "port": None, "cluster": cluster}
        return prepare.plan(
            Composed(values | launch | {"runs_dir": str(tmp_path / runs)}, (f"+exp={exp}", *words))
        )

    def finish(planned: prepare.RunPlan) -> Run:
        prepare.write(planned)
        (planned.run.checkpoints / "init.pt").touch()
        step_path(planned.run.checkpoints, 7).touch()
        planned.run.result.write_text(json.dumps({"steps": 7}))
        return planned.run

    run, moved = (finish(plan("cifar_complete", runs)) for runs in ("here", "there"))
    found = plan("cifar_fine_tune", "here").train
    assert found.wiring.source == str(run.folder)
    elsewhere = plan("cifar_fine_tune", "here", f"wiring.source={moved.folder}").train
    assert elsewhere.wiring.source == str(moved.folder)
    assert signature(elsewhere) == signature(found)
    other = finish(plan("cifar_complete", "here", "optim.lr=0.3"))
    named = plan("cifar_fine_tune", "here", f'wiring.source="{other.folder}"').train
    assert signature(named) != signature(found)
