"""From names and overrides to a checked configuration: where Hydra ends."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dnw.config import ConfigError, Train, parse
from dnw.setting_errors import known_keys, no_such_setting
from dnw.words import check_paths, explain, fit, last_of_each

_HERE = Path(__file__).resolve().parent
# beside the package in a clone, inside it in a wheel
CONFIGS = next(folder for folder in (_HERE / "configs", _HERE.parent / "configs") if folder.is_dir())

KEYS = tuple(known_keys(Train))
# what Hydra raises for words, or files, that it can't compose
NOT_COMPOSED = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)


def _quirk(reproduced: object, right: object, *, _root_: DictConfig) -> object:
    """In an experiment's file: `${quirk:0.51,0.49}` is the first with wiring.reference_quirks=true."""
    return reproduced if _root_.wiring.reference_quirks else right


def _sgd(value: object, *, _root_: DictConfig) -> object:
    """In a recipe: `${sgd:0.1}` is 0.1 with optim.name=sgd, which it was made with, and else not set."""
    return value if _root_.optim.name == "sgd" else None


def _multistep(milestones: object, *, _root_: DictConfig) -> object:
    """In a recipe: `${multistep:[80,120]}` are the milestones of the schedules that have, or ignore, them."""
    return milestones if _root_.optim.schedule in {"multistep", "cosine"} else []


for _name, _resolver in (("quirk", _quirk), ("sgd", _sgd), ("multistep", _multistep)):
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)


def training(overrides: Sequence[str]) -> Train:
    """Compose the training part of a run from command-line words like `+exp=static_dnw width=0.1`.

    Raises:
        ConfigError: a word that Hydra or `dnw.config.parse` refuses.
    """
    words = fit(last_of_each(overrides), CONFIGS, KEYS)
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            values = resolved(compose("config", words))
    except NOT_COMPOSED as error:
        raise ConfigError(explain(error, words, CONFIGS, KEYS)) from None
    check_paths(values)
    fields = {field.name for field in dataclasses.fields(Train)}
    for key in (word.lstrip("+").split("=")[0] for word in words if word.startswith("+")):
        if key.split(".")[0] not in fields:
            raise ConfigError(no_such_setting(key, KEYS))
    for word in words:
        key = word.lstrip("+").partition("=")[0]
        if key.split(".")[0] not in fields and not key.startswith("hydra"):
            print(f"note {word}: no effect on the network", file=sys.stderr)
    return parse({key: value for key, value in values.items() if key in fields})


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return a composed configuration as plain values, interpolations resolved."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
