import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from unit.launch.study.conftest import Cluster, Study, goes_on, use

from launch import snapshot
from launch.cluster.lanes import packs
from launch.cluster.submission import submission
from launch.compose import compose
from launch.errors import LaunchError
from launch.prepare import RunPlan, plan, write
from launch.study import record, settings, trials


def test_the_run_is_that_of_the_words_typed_alone(study: Study, launch_shards: Path) -> None:
    of = settings.read(study("cluster.array_parallelism=3", "hydra.job.env_set.A=1", "wait=true"))
    made = trials.plan(of, {"width": 0.2}, in_foreground=False)
    (alone,) = compose(["+exp=static_dnw", f"data.dir={launch_shards}", "steps=12", "width=0.2"])
    assert made.run == plan(alone).run
    assert made.launch.environment == {"A": "1"}
    assert made.launch.wait is False


def test_a_name_that_is_too_long_begins_with_the_values_of_the_trial(study: Study) -> None:
    long = (
        "eval_batch=50",
        "optim.momentum=0.8",
        "optim.nesterov=true",
        "optim.weight_decay=0.001",
        "seed=3",
    )
    of = settings.read(study(*long, "micro_batch=16", "optim.schedule=cosine"))
    made = trials.plan(of, {"width": 0.2}, in_foreground=False)
    assert made.run.folder.name.startswith("width=0.2,micro_batch=16,")


def test_what_may_not_change(study: Study, tmp_path: Path) -> None:
    of = settings.read(study("hydra.sweeper.study_name=mine"))
    other = settings.read(study("hydra.sweeper.study_name=mine", "width=interval(0.1,0.3)"))
    made = trials.plan(of, {"width": 0.2}, in_foreground=False)
    with record.opened(of.folder, of.directions) as known:
        trials.check_same(known, of)
        trials.check_same(known, of)
        with pytest.raises(LaunchError, match=r"space\.width\.low was 0\.02, is 0\.1.*study_name=NAME"):
            trials.check_same(known, other)
        trials.check_images(known, of, made)
        data = dataclasses.replace(made.train.data, val_fingerprint="0" * 16)
        changed = dataclasses.replace(made, train=dataclasses.replace(made.train, data=data))
        with pytest.raises(LaunchError, match="holds other images"):
            trials.check_images(known, of, changed)
        one = known.add({"width": 0.2}, of.space, made.run.name)
        trials.check_run(one, made)
        with pytest.raises(LaunchError, match="trial 0: began as a/b"):
            trials.check_run(dataclasses.replace(one, run="a/b"), made)


def test_code_that_has_changed_is_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    of = settings.read(study())
    made = trials.plan(of, {"width": 0.2}, in_foreground=False)
    with record.opened(of.folder, of.directions) as known:
        assert trials.note_of_code(of, known) == ""
        known.add({"width": 0.2}, of.space, made.run.name)
        write(made, lambda **_: b"")
        monkeypatch.setattr(snapshot, "differing", lambda _: ["a.py", "b.py", "c.py", "d.py"])
        monkeypatch.setattr(snapshot, "differing_configs", lambda _: ["configs/config.yaml"])
        assert trials.note_of_code(of, known) == (
            "code has changed since the first trial: a.py, b.py, c.py and 1 more; "
            "settings have changed since the first trial: configs/config.yaml"
        )


def test_bounds_that_can_not_be_run_are_told(study: Study) -> None:
    (note,) = trials.unfit_bounds(settings.read(study("width=interval(0.1,0.9)")), in_foreground=False)
    assert note.startswith("width: at most 0.414 of all edges")
    assert list(trials.unfit_bounds(settings.read(study()), in_foreground=False)) == []


def test_trials_that_share_jobs_are_asked_for_by_the_job(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next ones begin once a job is over, not once one of its trials is."""
    played = use(Cluster(), monkeypatch)
    jobs: list[list[str]] = []
    open_jobs: list[int] = []
    start, done = played.start, set[str]()

    def submitted(plans: Sequence[RunPlan]) -> int:
        done.update(path.parent.name for path in plans[0].launch.runs_dir.glob("*/*/result.json"))
        open_jobs.append(sum(not set(job) <= done for job in jobs))
        start(plans)
        for runs in packs(plans):
            jobs.append([plan.run.folder.name for plan in runs])
            folders = [str(plan.run.folder) for plan in runs]
            for one in runs:
                made = submission(one.launch, "slurm", f"{len(jobs)}", one.run.slurm)
                dataclasses.replace(made, pack=folders).write(one.run)
        return 0

    monkeypatch.setattr(played, "start", submitted)
    few = ("hydra.launcher.array_parallelism=2", "hydra.sweeper.n_trials=7", "pack=2")
    assert goes_on(study(*few), played) == 0
    assert [len(job) for job in jobs[:2]] == [2, 2]
    assert sorted(len(job) for job in jobs) == [1, 2, 2, 2]
    assert max(open_jobs) <= 1
