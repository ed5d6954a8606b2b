"""Words for Hydra itself, `hydra.job.env_set.NAME=VALUE`: which of them have an effect here.

Hydra only composes here (launch/compose.py). Its folders, its logs, and what its launchers ask of Slurm are
settings of this project; words for them would be taken and dropped, so they are refused with the right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dnw.config import ConfigError
from launch.scheduler.sbatch_options import SETTINGS
from shards.errors import did_you_mean

ENVIRONMENT = "hydra.job.env_set"
# Hydra's launchers, and what of configs/hydra/launcher stands for them. Files of the same names won't do, as
# Hydra would hold them against the settings of its own.
LAUNCHERS = {"submitit_slurm": "prepared", "submitit_local": "background", "basic": "foreground"}
STUDY = (
    "adaptive"  # of configs/hydra/sweeper, typed as optuna: Hydra's plugin of that name has other settings
)
_OF_STUDY = (
    *("n_trials", "study_name", "objectives", "direction", "sampler", "seed", "pruner"),
    *("startup_trials", "warmup_evaluations", "params"),
)
_SWEEPER = "hydra.sweeper."
_TAKEN = ("hydra/launcher", "hydra/sweeper", "hydra.sweeper", "hydra.searchpath", "hydra.mode", ENVIRONMENT)
_LAUNCHER = "hydra.launcher."
_CLUSTER = {
    *SETTINGS,
    "timeout_min",
    "mem_gb",
    "signal_delay_s",
    "setup",
    "srun_args",
    "additional_parameters",
}
_INSTEAD = {
    "hydra.run": "run folders lie in runs_dir=FOLDER",
    "hydra.sweep": "run folders lie in runs_dir=FOLDER",
    "hydra.output_subdir": "a run's configuration is its config.yaml; run folders lie in runs_dir=FOLDER",
    "hydra.job.chdir": "a run works in the folder where the line is typed, and writes to runs_dir=FOLDER",
    "hydra.job.name": "a run is named by its experiment and its settings",
    "hydra.job.env_copy": "jobs get the whole environment; set more with hydra.job.env_set.NAME=VALUE",
    "hydra.job_logging": "logs lie in the run folder",
    "hydra/job_logging": "logs lie in the run folder",
    "hydra/sweeper/sampler": "write hydra.sweeper.sampler=tpe or random",
    "hydra.callbacks": "notify.command=COMMAND is told how a run ends",
}


def check(words: Sequence[str], is_sweep: bool = True) -> None:
    """Refuse words for Hydra that would have no effect, and half of a choice that it makes.

    Args:
        words: settings as typed, without options.
        is_sweep: -m is among these.

    Raises:
        ConfigError: with all of them, a line for each.
    """
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    if "cluster.name" in keys:
        raise ConfigError("cluster.name: the settings of a cluster go with its name; write cluster=NAME")
    if problems := [
        _refusal(key) for key in keys if key.startswith(("hydra.", "hydra/")) and not _is_taken(key)
    ]:
        raise ConfigError("\n".join(problems))
    if problems := list(_of_study(words, is_sweep)):
        raise ConfigError("\n".join(problems))


def is_of_hydra(word: str) -> bool:
    """Whether a word is for Hydra itself."""
    return word.lstrip("+~").startswith(("hydra.", "hydra/"))


def is_of_each_run(word: str) -> bool:
    """Whether a word for Hydra itself says what each run of a sweep is composed from."""
    return is_of_hydra(word) and _is_below(
        word.lstrip("+").partition("=")[0], (ENVIRONMENT, "hydra.searchpath")
    )


def as_hydra_has_it(word: str) -> str:
    """Return a word with this project's launcher in place of Hydra's, and a + where it adds a variable."""
    key, _, value = word.partition("=")
    if word == "hydra/sweeper=optuna":
        return f"{key}={STUDY}"
    if key == "hydra/launcher":
        return f"{key}={LAUNCHERS.get(value, value)}"
    if _is_below(key.lstrip("+"), (ENVIRONMENT, "environment", "cluster.additional_parameters")):
        return "++" + word.lstrip("+")
    return word


def _of_study(words: Sequence[str], is_sweep: bool) -> Iterator[str]:
    """Yield what is wrong with words of adaptive sweeps."""
    is_study = any(word in {"hydra/sweeper=optuna", f"hydra/sweeper={STUDY}"} for word in words)
    if is_study and not is_sweep:
        yield "hydra/sweeper=optuna: of sweeps alone; type -m as well"
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        name = key.removeprefix(_SWEEPER).partition(".")[0]
        if "interval(" in value and not is_study and not key.startswith(_SWEEPER):
            yield f"{word}: Optuna chooses from an interval: type -m hydra/sweeper=optuna as well"
        elif key.startswith(_SWEEPER) and name in _OF_STUDY and not is_study and name != "params":
            yield f"{key}: of hydra/sweeper=optuna alone; type -m hydra/sweeper=optuna as well"
        elif key.startswith(f"{_SWEEPER}params.") and is_study:
            yield f"{key}: type the setting itself: {key.removeprefix(f'{_SWEEPER}params.')}={value}"
        elif key.startswith(_SWEEPER) and (name not in _OF_STUDY or key.count(".") > 2) and is_study:
            meant = did_you_mean(name, _OF_STUDY) or f"; there are: {', '.join(_OF_STUDY)}"
            yield f"{key}: no such setting of a study{meant}"


def _is_taken(key: str) -> bool:
    return key == f"{_LAUNCHER}array_parallelism" or _is_below(key, _TAKEN)


def _is_below(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _refusal(key: str) -> str:
    if key.startswith(_LAUNCHER):
        return f"{key}: no effect here; {_of_cluster(key.removeprefix(_LAUNCHER))}"
    instead = next((told for name, told in _INSTEAD.items() if _is_below(key, [name])), None)
    return f"{key}: no effect here; {instead or 'Hydra only composes the configuration; leave it out'}"


def _of_cluster(name: str) -> str:
    if name == "tasks_per_node":
        return "processes of a node are nproc="
    if name in _CLUSTER:
        setting = SETTINGS.get(name, f"cluster.{name}")
        return f"write {setting}="
    return "what a job asks for is cluster.NAME=; --help lists them"
