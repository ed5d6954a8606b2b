import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from login_node import frozen, refreeze
from object_store import http

from dnw import config
from dnw.compose import CONFIGS
from dnw.config import ConfigError
from dnw.identity import signature
from launch import prepare, snapshot
from launch.compose import Composed
from launch.earlier_run import overridden
from launch.errors import LaunchError
from launch.prepare import RunPlan
from shards.errors import ShardError


@pytest.fixture
def composed(tmp_path: Path, launch_shards: Path) -> Composed:
    """A small run, as Hydra would compose it."""
    from dnw.compose import training

    values: dict[str, Any] = config.plain(training(["+exp=static_dnw", f"data.dir={launch_shards}"]))
    cluster = {"name": "slurm", "timeout_min": 60, "signal_delay_s": 120, "grace_s": 60}
    launch = {"nodes": 1, "nproc": 1, "fresh": False, "dry_run": False, "port": None, "cluster": cluster}
    return Composed(values | launch | {"runs_dir": str(tmp_path / "runs")}, ("+exp=static_dnw",))


def changed(composed: Composed, *overrides: str, **values: Any) -> Composed:
    return Composed(composed.values | values, (*composed.overrides, *overrides))


def plan(composed: Composed) -> RunPlan:
    return prepare.plan(composed)


def test_a_run_folder_holds_all_that_an_attempt_needs(composed: Composed, tmp_path: Path) -> None:
    planned = plan(composed)
    run = planned.run
    assert not (tmp_path / "runs").exists()  # planning writes nothing
    assert prepare.write(planned)
    assert config.load(run.config) == planned.train
    assert "dnw/train.py" in frozen(run.code)
    assert sorted(path.name for path in run.folder.parent.iterdir()) == [run.folder.name]


def test_what_is_frozen_says_which_images(
    composed: Composed, launch_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(launch_shards.parent)
    values = composed.values["data"] | {"dir": "shards"}
    data = plan(changed(composed, data=values)).train.data
    assert data.dir == launch_shards
    assert len(data.train_fingerprint) == len(data.val_fingerprint) == 64
    assert data.train_fingerprint != data.val_fingerprint


def test_shards_that_lie_elsewhere(composed: Composed, launch_shards: Path, tmp_path: Path) -> None:
    """The login node fetches the indexes, and the run is the same run."""
    here = plan(composed)
    with http(launch_shards) as served:
        values = composed.values["data"] | {"dir": str(tmp_path / "index"), "url": served.url}
        assert plan(changed(composed, data=values, dry_run=True)).run.folder == here.run.folder
        assert not (tmp_path / "index").exists()  # a dry run writes nothing
        away = plan(changed(composed, data=values))
        assert plan(changed(composed, data=values)).train == away.train
        assert not [name for name in served.asked if name.endswith(".tar")]
        with pytest.raises(
            ConfigError, match=r"data.cache_gb=1e-05: two windows of 1 shards take 0.0 GB; allow"
        ):
            plan(changed(composed, data=values | {"cache_gb": 1e-5}))
    assert away.train.data.train_fingerprint == here.train.data.train_fingerprint
    assert away.run.folder == here.run.folder
    with pytest.raises(
        ShardError, match=r"/index-train.npy: can't be fetched .*: data.url must be the folder"
    ):
        plan(changed(composed, data=values | {"dir": str(tmp_path / "other"), "url": "http://127.0.0.1:9/x"}))


def test_the_same_run_is_the_same_folder(composed: Composed) -> None:
    folder = plan(composed).run.folder
    assert folder.name == f"default-{signature(plan(composed).train)}"
    # neither how it is launched, nor what doesn't change the result, nor typing a default makes another run
    same = [
        changed(composed, "nproc=2", nproc=2),
        changed(composed, "log.every_steps=7", log={"every_steps": 7}),
    ]
    assert {plan(one).run.folder for one in same} == {folder}
    prepare.write(plan(composed))
    assert plan(changed(composed, "width=0.05")).run.folder == folder
    other = plan(changed(composed, "width=0.1", width=0.1)).run.folder
    assert other.name.startswith("width=0.1-")
    assert other.parent == folder.parent


def test_of_a_run_that_was_copied_nobody_knows_which_goes_on(composed: Composed) -> None:
    made = plan(composed)
    prepare.write(made)
    folder = made.run.folder
    shutil.copytree(folder, folder.with_name(f"a-copy-{folder.name}"))
    shutil.copytree(folder, folder.with_name(f"{folder.name}.bak"))
    with pytest.raises(
        LaunchError, match=f"is there 2 times .a-copy-{folder.name}, {folder.name}.; move all"
    ):
        plan(composed)
    shutil.rmtree(folder.with_name(f"a-copy-{folder.name}"))
    assert plan(composed).run.folder == folder


def test_an_existing_run_keeps_its_code_and_what_its_result_depends_on(composed: Composed) -> None:
    """What changes no result is as typed last."""
    run = plan(composed).run
    prepare.write(plan(composed))
    refreeze(run, "dnw/train.py", "as submitted")
    again = plan(changed(composed, log={"every_steps": 7}))
    assert again.run == run
    assert not prepare.write(again)
    assert config.load(run.config).log.every_steps == 7
    assert signature(config.load(run.config)) == signature(plan(composed).train)
    assert frozen(run.code)["dnw/train.py"] == "as submitted"


def test_a_run_keeps_the_names_of_its_classes(
    composed: Composed, launch_shards: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(launch_shards, shards)
    composed = changed(composed, data=composed.values["data"] | {"dir": str(shards)})
    planned = plan(composed)
    prepare.write(planned)
    names = [f"class{number}" for number in range(10)]
    assert json.loads(planned.run.classes.read_text()) == names
    for path in shards.glob("index-*.json"):
        path.write_text(path.read_text().replace('"class3"', '"other"'))
    with pytest.raises(
        ShardError, match="other classes: class 3 is 'other' and 'class3': the shards are the same"
    ):
        plan(composed)
    fresh = changed(composed, fresh=True)
    assert plan(fresh).classes == (*names[:3], "other", *names[4:])
    for path in shards.glob("index-*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"classes": None}))
    assert (
        f"classes: their number alone was compared, 10; the shards in {shards} don't"
        in plan(composed).notes[-1]
    )


def test_fresh_moves_the_old_folder_aside(composed: Composed) -> None:
    run = plan(composed).run
    prepare.write(plan(composed))
    (run.folder / "result.json").write_text("{}")
    assert prepare.write(plan(changed(composed, fresh=True)))
    assert not run.result.exists()
    (old,) = run.folder.parent.glob("*.old-*")
    assert (old / "result.json").exists()
    assert plan(composed).run.folder == run.folder  # and never mistaken for the run


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_appears_whole_or_not_at_all(
    composed: Composed, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    if fresh:
        prepare.write(plan(composed))
    before = sorted((plan(composed).run.folder.parent).rglob("*"))
    monkeypatch.setattr(snapshot, "LIMIT_MB", 0)
    with pytest.raises(LaunchError, match="the code to freeze"):
        prepare.write(plan(changed(composed, fresh=fresh)))
    assert sorted((plan(composed).run.folder.parent).rglob("*")) == before


def test_two_that_type_the_same_at_once(composed: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(composed)
    fill = prepare._fill

    def overtaken(*args: Any) -> None:
        monkeypatch.setattr(prepare, "_fill", fill)
        prepare.write(planned)
        fill(*args)

    monkeypatch.setattr(prepare, "_fill", overtaken)
    assert not prepare.write(planned)
    assert [path.name for path in planned.run.folder.parent.iterdir()] == [planned.run.folder.name]
    assert config.load(planned.run.config) == planned.train


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["+exp=static_dnw"], "default"),
        (["steps=200", "data=fashion_mnist", "+exp=static_dnw"], "data=fashion_mnist,steps=200"),
        (["++width=0.3", "nodes=2", "cluster=local", "cluster.partition=a", "fresh=true"], "width=0.3"),
        (["data.dir=/a/b", "data.workers=4", "log.every_steps=1", "checkpoint.keep=3"], "default"),
        (["optim.milestones=[80, 120]"], "optim.milestones=_80,_120_"),
        (["init=/a/weights/r18.pth"], "init=r18.pth"),
        (["~epochs", "data.name=a/b c"], "data.name=a_b_c,epochs"),
    ],
)
def test_what_was_overridden(overrides: list[str], name: str) -> None:
    assert overridden(tuple(overrides)) == name


@pytest.mark.parametrize("letter", ["a", "é", "語"])
def test_a_name_fits_into_a_file_system(letter: str) -> None:
    name = overridden(tuple(f"optim.{letter}{n}={n}" for n in range(99)))
    assert 116 <= len(name.encode()) <= 120


def test_a_name_that_is_too_long_begins_with_what_sets_a_run_of_a_sweep_apart() -> None:
    words = [*(f"optim.a{n}={n}" for n in range(20)), "seed=1", "wiring=dnw"]
    assert overridden(words, {"seed=1", "wiring=dnw"}).startswith(
        "seed=1,wiring=dnw,optim.a0=0,optim.a10=10,"
    )
    short = ["optim.lr=1", "wiring=dnw"]
    assert overridden(short, {"wiring=dnw"}) == "optim.lr=1,wiring=dnw"


def test_a_resumed_run_has_to_fit_the_processes_it_is_given_now(composed: Composed) -> None:
    prepare.write(plan(composed))
    with pytest.raises(ConfigError, match="3 processes can't share the 8 micro-batches"):
        plan(changed(composed, nproc=3))


def test_the_configs_are_part_of_the_frozen_code(composed: Composed) -> None:
    planned = plan(composed)
    prepare.write(planned)
    assert frozen(planned.run.code)["configs/config.yaml"] == (CONFIGS / "config.yaml").read_text()
