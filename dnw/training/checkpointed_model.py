"""A trained network, as a run folder or a checkpoint holds it."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Literal, NamedTuple

from torch import nn

from dnw import models, user_classes
from dnw.config import ConfigError, Train, load, parse, plain
from dnw.dotted import dotted
from dnw.identity import identity, signature
from dnw.runs import class_names
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, CheckpointError, DamagedError, Identity
from dnw.training.finite import check_finite, not_finite_by_design
from dnw.wiring import choose_all
from shards.classes import Names

Weights = Literal["trained", "ema"]
log = logging.getLogger(__name__)


class CheckpointedModel(NamedTuple):
    """A trained network on the CPU, with its configuration, its step, and the names of its classes.

    `noted` is the file of the run that holds these names; it needn't be there.
    """

    train: Train
    model: nn.Module
    step: int
    classes: Names
    noted: Path


def load_checkpointed_model(path: Path, weights: Weights = "trained") -> CheckpointedModel:
    """Load the network of a run folder or of a checkpoint.

    With weights="ema" its weights and running statistics are the average over the training (optim.ema), its
    edges those of the trained weights.

    Of a run folder the newest whole checkpoint is taken; damaged ones are passed over with a warning and left
    where they are, as the run may be at work. A checkpoint needs no folder around it.

    Raises:
        ConfigError, CheckpointError: no such run, nothing saved yet, damaged, or a checkpoint of another run.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such run folder or checkpoint")
    run = Run(path if path.is_dir() else path.parent.parent)
    user_classes.prefer(run.code.absolute())
    if path.is_dir():
        train, state = load(run.config), _newest_whole(run.checkpoints)
        path = step_path(run.checkpoints, state.position.step)
    else:
        state = checkpoint.read(path)
        train = load(run.config) if run.config.exists() or run.config.is_symlink() else parse(state.train)
    _check_identity(path, state, train)
    model = models.build(train)
    check_finite(path, state, not_finite_by_design(model), "name a checkpoint of an earlier step")
    model.load_state_dict(state.model)
    choose_all(model, state.position.step)
    if weights == "ema":
        if not state.average:
            raise CheckpointError(
                f"{path}: holds no average of the weights, which optim.ema= keeps in training; "
                "leave weights=ema out"
            )
        model.load_state_dict({**state.model, **state.average})  # of saved masks those that are there
    names = class_names.read(run) if state.identity.classes is None else state.identity.classes
    return CheckpointedModel(train, model, state.position.step, names, run.classes)


def chosen_weights(word: str) -> Weights:
    """Return what a word of a command line says, weights=trained or weights=ema.

    Raises:
        argparse.ArgumentTypeError: it says something else.
    """
    match word.partition("="):
        case "weights", "=", ("trained" | "ema") as name:
            return name
    raise argparse.ArgumentTypeError(
        f"no {word!r}; there are weights=trained, and weights=ema for their average"
    )


def _check_identity(path: Path, state: Checkpoint, train: Train) -> None:
    """Refuse weights of another run, as the worker does; an earlier version may have fewer settings."""
    ours, theirs = (dotted(identity(values)) for values in (plain(train), state.train))
    if not theirs or any(theirs[key] != ours[key] for key in theirs.keys() & ours.keys()):
        data = train.data
        mine = Identity(train.exp, signature(train), data.train_fingerprint, data.val_fingerprint)
        checkpoint.check_identity(path, state.identity, mine)


def _newest_whole(folder: Path) -> Checkpoint:
    damaged: list[Path] = []

    def leave(path: Path, error: DamagedError) -> None:
        log.warning("%s; taking the one before", error)
        damaged.append(path)

    if found := checkpoint.newest_whole(folder, leave):
        return found[1]
    if damaged:
        raise CheckpointError(f"{folder}: no whole checkpoint; all {len(damaged)} are damaged")
    raise CheckpointError(f"{folder}: no checkpoint yet; let the run make progress first")
