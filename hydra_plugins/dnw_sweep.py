"""`-m`: hydra-submitit-launcher's launcher, made to compose every run of a sweep here, on the login node.

The launcher as it comes pickles Hydra's state, composes each configuration again on the node (so that an
edit made meanwhile changes the job), waits until all jobs have ended, and never starts one again. This one
only composes; the runs then go the way of any single run (launch/cluster/submit.py), together.

Whoever names another of Hydra's launchers gets this one, set to do what that stands for (launch/compose.py):
submitit_slurm a job array, submitit_local this machine in the background, basic this machine in the
foreground, one run after the other (launch/app.py).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
from omegaconf import DictConfig, OmegaConf, open_dict


class Product(BasicSweeper):
    """Sweeps over all combinations of values, as Hydra's own does, and composes each run once.

    That one composes them all beforehand, to find what can't be composed while no job has begun. Here none
    begins before the launcher has composed them all, and composing is what a large sweep waits for.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher."""


class Alike:
    """Composes runs; one that differs from an earlier one in plain values alone is a copy with these.

    Composing is what a sweep over a hundred widths would wait for, a hundred times.
    """

    def __init__(self) -> None:
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, loader: ConfigLoader, master: DictConfig, words: Sequence[str]) -> DictConfig:
        """Return what `load_sweep_config` does.

        Args:
            loader: composes, where there is nothing alike.
            master: what the sweep was typed with.
            words: one run's, without choices.
        """
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
        values = [one for one in parsed if _is_plain(one, master)]
        others = [one for one in parsed if not _is_plain(one, master)]
        if any(_overlap(one, other) and not _is_choice(other, loader) for one in values for other in others):
            return loader.load_sweep_config(master, list(words))
        kind = (*(one.key_or_group for one in values), *(str(one.input_line) for one in others))
        if kind not in self._composed:
            config = loader.load_sweep_config(master, list(words))
            self._composed[kind] = copy.deepcopy(config)
            return config
        config = copy.deepcopy(self._composed[kind])
        for one in values:
            OmegaConf.update(config, one.key_or_group, one.value())
        config.hydra.overrides.task = [one.input_line for one in parsed]
        return config


def _is_plain(override: Override, config: DictConfig) -> bool:
    """Whether a word gives a setting that is there a single value."""
    key, value = override.key_or_group, override.value()
    is_setting = (
        override.type is OverrideType.CHANGE
        and override.package is None
        and "/" not in key
        and key[:5] != "hydra"
    )
    if not is_setting or not isinstance(value, str | int | float | bool | None):
        return False
    return not isinstance(OmegaConf.select(config, key, throw_on_missing=False), DictConfig)


def _overlap(value: Override, other: Override) -> bool:
    """Whether two words may set the same, so that the later one counts."""
    one, another = f"{value.key_or_group}.", f"{other.key_or_group}."
    return one.startswith(another) or another.startswith(one)


def _is_choice(override: Override, loader: ConfigLoader) -> bool:
    """Whether a word chooses a file of configs/: those count before all values, wherever they stand."""
    if override.is_delete() or not isinstance(override.value(), str | list):
        return False
    return bool(loader.get_group_options(override.key_or_group))


class Prepared(SlurmLauncher):  # type: ignore[misc]
    """Composes every run of a sweep and hands it to the task function, in this process.

    Args:
        array_parallelism: runs at a time; None: as cluster.array_parallelism says.
        cluster: the option of the group of this name; None: as the command line says.
    """

    def __init__(self, array_parallelism: int | None = None, cluster: str | None = None) -> None:
        super().__init__()
        self._words = [] if array_parallelism is None else [f"cluster.array_parallelism={array_parallelism}"]
        self._cluster = [] if cluster is None else [f"cluster={cluster}"]
        self._alike = Alike()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Submit a sweep; Hydra's sweeper calls this once, with the words of every run."""
        return [self._compose([*self._words, *self._where(words), *words]) for words in job_overrides]

    def _where(self, words: Sequence[str]) -> list[str]:
        return [] if any(word.startswith("cluster=") for word in words) else self._cluster

    def _compose(self, overrides: list[str]) -> JobReturn:
        assert self.hydra_context is not None
        assert self.config is not None
        assert self.task_function is not None
        config = self._alike.compose(self.hydra_context.config_loader, self.config, overrides)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        self.task_function(config)
        done = JobReturn(overrides=overrides, cfg=config, status=JobStatus.COMPLETED)
        done.return_value = None
        return done
