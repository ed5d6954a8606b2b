"""The training configuration: frozen dataclasses, checked when they are built.

Hydra and OmegaConf stop here. `configs/` gives every value, the modules of this folder give every type and
range, one for each group of settings, and everything below travels as these objects. Nothing here imports
torch: the login node checks with it.
"""

from __future__ import annotations

from dnw.config.augmentation import Augmentation
from dnw.config.contradictions import WIDEST_STATIC, listed
from dnw.config.data import Data, Folder
from dnw.config.frozen import ANEW, load, read
from dnw.config.model import GRAPHS, LIBRARIES, NETWORKS, RESNETS, Model
from dnw.config.optim import Optim
from dnw.config.parsing import ConfigError, check_typed, dump, dump_for_people, parse, parse_as, plain
from dnw.config.train import MOST_STEPS, VERSION, CheckpointSettings, Log, Precision, Train, Watchdog
from dnw.config.wiring import FROM_A_RUN, Wiring

__all__ = [
    "ANEW",
    "FROM_A_RUN",
    "GRAPHS",
    "LIBRARIES",
    "MOST_STEPS",
    "NETWORKS",
    "RESNETS",
    "VERSION",
    "WIDEST_STATIC",
    "Augmentation",
    "CheckpointSettings",
    "ConfigError",
    "Data",
    "Folder",
    "Log",
    "Model",
    "Optim",
    "Precision",
    "Train",
    "Watchdog",
    "Wiring",
    "check_typed",
    "dump",
    "dump_for_people",
    "listed",
    "load",
    "parse",
    "parse_as",
    "plain",
    "read",
]
