"""`-m hydra/sweeper=optuna`: composes one configuration, from which launch/study/ makes those of all trials.

hydra-optuna-sweeper takes no Optuna from 3.0 on (its last version, 1.3.0, asks for optuna<3.0.0), runs all
trials within Hydra, and remembers nothing unless a database is set up. So this project does it on Optuna
itself, and keeps the words alone. Optuna isn't imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dnw.config import ConfigError


class Adaptive(Sweeper):
    """Composes the run that has the first of the values that each setting may take.

    Args:
        params: settings with their values, as they would be typed.
        study: what launch/study/settings.py reads.
    """

    def __init__(self, params: dict[str, str] | None = None, **study: Any) -> None:
        self._params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what composing needs; Hydra calls this first."""
        self._loader = hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Compose that run.

        Args:
            arguments: settings as typed.

        Raises:
            ConfigError: none of them leaves anything to choose.
        """
        typed = {word.partition("=")[0].lstrip("+") for word in arguments}
        words = [f"{key}={values}" for key, values in self._params.items() if key not in typed]
        parser = OverridesParser.create(config_loader=self._loader)
        overrides = parser.parse_overrides([*words, *arguments])
        if not any(one.is_sweep_override() for one in overrides):
            raise ConfigError(
                "hydra/sweeper=optuna: no setting has values to choose from; say 'width=interval(0.1,0.5)'"
            )
        return self._launcher.launch([[_first(one) for one in overrides]], initial_job_idx=0)


def _first(override: Override) -> str:
    """Return a word with the first of its values alone."""
    if not override.is_sweep_override():
        return str(override.input_line)
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        return f"{override.get_key_element()}={sweep.start}"
    values: Sequence[str] = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{override.input_line}: no value to choose from")
    return f"{override.get_key_element()}={values[0]}"
