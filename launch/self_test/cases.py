"""The small runs that a self-test consists of: which network, how long, on how many processes."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnw import config
from dnw.config import Train
from dnw.runs.folder import Run
from shards.files.folder_entries import matching

Changes = Mapping[str, Any]  # of settings; `__` stands for a dot

LEARNING: Changes = {
    **{"epochs": None, "steps": 8, "checkpoint__every": None, "checkpoint__every_steps": 2},
    **{"checkpoint__every_minutes": 0.0, "log__every_steps": 1, "log__digests": True, "eval_batch": 8},
}
SHORT: Changes = {"steps": 4}
GRAPH: Changes = {"width": 0.05, "sparsity": None}
OTHER: Changes = {"width": None, "sparsity": 0.5}
FAMILIES: Mapping[str, Changes] = {
    "static": {"model__name": "static", **GRAPH},
    "discrete": {"model__name": "discrete", **GRAPH},
    "continuous": {"model__name": "continuous", **GRAPH},
    "mobilenet": {"model__name": "mobilenet", **GRAPH},
    "mobilenet_v1": {"model__name": "mobilenet_v1", **OTHER, "width": 0.25},
    "resnet": {"model__name": "resnet18", **OTHER},
}


# the network whose speed is measured where there are GPUs
FULL: Changes = {"width": 0.225, "data__image_size": 224, "micro_batch": 64, "precision": "bf16"}


@dataclass(frozen=True)
class Size:
    """The size of the small runs: a node without a GPU gets less to do."""

    micro_batch: int
    photo: tuple[int, int]  # width and height of the images that are written
    sides: Mapping[str, int]  # pixels that each family of networks sees
    epoch_steps: int = 4


SMALL = Size(
    2,
    (72, 54),
    {"static": 16, "discrete": 16, "continuous": 16, "mobilenet": 32, "mobilenet_v1": 32, "resnet": 32},
)
LARGE = Size(
    16,
    (500, 375),
    {"static": 32, "discrete": 32, "continuous": 32, "mobilenet": 128, "mobilenet_v1": 128, "resnet": 128},
)


@dataclass(frozen=True)
class Case:
    """One of the runs, or one measurement by all processes."""

    name: str
    folder: str  # its own, below that of all cases
    nodes: int  # that take part, from the first one on
    nproc: int  # on each
    family: str = "static"
    changes: Changes = field(default_factory=dict)
    worker: tuple[str, ...] = ("dnw.train",)
    variables: Mapping[str, str] = field(default_factory=dict)


def micro_batches(processes: int) -> int:
    """In how many micro-batches a step comes, so that all processes can share it, and 1, 2, 4 or 8 too."""
    return math.lcm(processes, 8)


def samples(size: Size, processes: int) -> dict[str, int]:
    """How many images are written: an epoch of Size.epoch_steps, and four batches of evaluation a process."""
    step = size.micro_batch * micro_batches(processes)
    return {"train": size.epoch_steps * step, "val": 4 * processes * int(LEARNING["eval_batch"])}


def settings(base: Train, case: Case, size: Size, processes: int) -> Train:
    """Return the training configuration of a case.

    Args:
        base: that of the self-test, with images written.
        case: the case.
        size: of everything.
        processes: of the whole job, whatever share of them the case has.
    """
    sides = {"data__image_size": size.sides[case.family], "micro_batch": size.micro_batch}
    changes = {**LEARNING, **FAMILIES[case.family], **sides, **case.changes}
    return changed(base, {**changes, "batch": changes["micro_batch"] * micro_batches(processes)})


def changed(train: Train, changes: Changes) -> Train:
    """Return the same configuration with some settings changed.

    Raises:
        ConfigError: they don't go together.
    """
    values = config.plain(train)
    for name, value in changes.items():
        *groups, key = name.split("__")
        inner = values
        for group in groups:
            inner = inner[group]
        inner[key] = value
    return config.parse(values)


def prepare(whole: Run, case: Case, train: Train) -> Run:
    """Make the run folder of a case, within that of the self-test, whose code it shares.

    Args:
        whole: the run of the self-test.
        case: which one.
        train: its configuration.
    """
    run = run_of(whole, case.folder)
    for folder in (run.folder, run.slurm, run.logs, run.checkpoints):
        folder.mkdir(parents=True)
    run.code.symlink_to(Path(os.path.relpath(whole.code, run.folder)))
    run.config.write_text(config.dump(train))
    return run


def run_of(whole: Run, folder: str) -> Run:
    """Return the run of a case, by the name of its folder."""
    return Run(whole.folder / "cases" / folder)


def done(whole: Run, name: str) -> Run | None:
    """Return the newest finished run of a case, by its name; None if there is none.

    Each attempt at the self-test makes folders of its own, NAME.ATTEMPT: what a node that was cut off still
    writes into those of an earlier one reaches nobody.
    """
    found = [
        run for path in matching(whole.folder / "cases", f"{name}.*") if (run := Run(path)).result.exists()
    ]
    return max(found, key=lambda run: int(run.folder.suffix[1:]), default=None)


def with_images(base: Train, folder: Path, fingerprints: tuple[str, str]) -> Train:
    """Return the self-test's configuration once its images are written.

    Args:
        base: without them.
        folder: where their shards are.
        fingerprints: of the shards to train on, and to validate with.
    """
    train, val = fingerprints
    data = dataclasses.replace(base.data, dir=folder, train_fingerprint=train, val_fingerprint=val)
    return dataclasses.replace(base, data=data)
