"""Words for Hydra itself are taken where they have an effect, else refused with what has."""

from __future__ import annotations

import pytest

from dnw.config import ConfigError
from launch.hydra_words import as_hydra_has_it, check


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hydra.run.dir=/tmp/x", "hydra.run.dir: no effect here; run folders lie in runs_dir=FOLDER"),
        ("hydra.sweep.subdir=a", "runs_dir=FOLDER"),
        ("~hydra.run", "runs_dir=FOLDER"),
        ("++hydra.output_subdir=null", "config.yaml"),
        ("hydra.job.chdir=true", "runs_dir=FOLDER"),
        ("hydra.job.env_copy=[A]", "env_set"),
        ("hydra/job_logging=default", "run folder"),
        ("+hydra.callbacks.mine._target_=os.abort", "notify.command"),
        ("hydra.verbose=true", "leave it out"),
        (
            "hydra.launcher.partition=gpu",
            "no effect here; write cluster.partition=",
        ),
        ("hydra.launcher.timeout_min=5", "write cluster.timeout_min="),
        ("hydra.launcher.nodes=2", "write nodes="),
        ("+hydra.launcher.tasks_per_node=8", "nproc="),
        ("hydra.launcher.comment=x", "cluster.NAME="),
    ],
)
def test_words_without_effect_are_refused(word: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(["+exp=static_dnw", word])
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_each_of_them_is_named() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir.*\n.*hydra\.sweep\.dir"):
        check(["hydra.run.dir=a", "hydra.sweep.dir=b"])


def test_others_are_taken() -> None:
    words = ["hydra/launcher=basic", "hydra.launcher.array_parallelism=3", "hydra.searchpath=[file:///x]"]
    check([*words, "hydra.job.env_set.A=1", "hydra.mode=MULTIRUN", "hydra.sweeper.x=2", "seed=1"])


@pytest.mark.parametrize(
    ("word", "given"),
    [
        ("hydra/launcher=submitit_slurm", "hydra/launcher=prepared"),
        ("hydra/launcher=mine", "hydra/launcher=mine"),
        ("environment.A=1", "++environment.A=1"),
        ("+environment.A=1", "++environment.A=1"),
        ("hydra.job.env_set={A: 1}", "++hydra.job.env_set={A: 1}"),
        ("environments=1", "environments=1"),
    ],
)
def test_as_hydra_has_it(word: str, given: str) -> None:
    assert as_hydra_has_it(word) == given
