"""Words for Hydra itself, `hydra.job.env_set.NAME=VALUE`: which of them have an effect here.

Hydra only composes here (launch/compose.py). Its folders, its logs, and what its launchers ask of Slurm are
settings of this project; words for them would be taken and dropped, so they are refused with the right one.
"""

from __future__ import annotations

from collections.abc import Iterable

from dnw.config import ConfigError
from launch.config import SETTINGS

ENVIRONMENT = "hydra.job.env_set"
# Hydra's launchers, and what of configs/hydra/launcher stands for them. Files of the same names won't do, as
# Hydra would hold them against the settings of its own.
LAUNCHERS = {"submitit_slurm": "prepared", "submitit_local": "background", "basic": "foreground"}
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
    "hydra.callbacks": "notify.command=COMMAND is told how a run ends",
}


def check(words: Iterable[str]) -> None:
    """Refuse words for Hydra that would have no effect.

    Args:
        words: settings as typed, without options.

    Raises:
        ConfigError: with all of them, a line for each.
    """
    keys = (word.lstrip("+~").partition("=")[0] for word in words)
    if problems := [
        _refusal(key) for key in keys if key.startswith(("hydra.", "hydra/")) and not _is_taken(key)
    ]:
        raise ConfigError("\n".join(problems))


def as_hydra_has_it(word: str) -> str:
    """Return a word with this project's launcher in place of Hydra's, and a + where it adds a variable."""
    key, _, value = word.partition("=")
    if key == "hydra/launcher":
        return f"{key}={LAUNCHERS.get(value, value)}"
    if _is_below(key.lstrip("+"), (ENVIRONMENT, "environment", "cluster.additional_parameters")):
        return "++" + word.lstrip("+")
    return word


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
