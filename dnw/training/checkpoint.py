"""Checkpoints: atomic, with a digest, and with the name of the run they belong to.

A file is what torch.save wrote, followed by its SHA-256, so that one rename publishes both; torch.load reads
it as it is. A file that was cut or changed is recognized before anything of it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from dnw.runs.folder import step_path, steps
from dnw.training import faults
from shards import classes
from shards.atomic import replacing
from shards.classes import Names
from shards.command import is_full
from shards.errors import ExpectedError
from shards.files.folder_entries import matching
from shards.files.regular_file import open_file, read_bytes

VERSION = 2
MAGIC = b"DNW-SHA2"
_BEGINNINGS = (b"PK", b"", bytes(2))  # of what torch.save writes; of a file that lost its content
SEAL_BYTES = len(MAGIC) + hashlib.sha256().digest_size
log = logging.getLogger(__name__)


class CheckpointError(ExpectedError):
    """A checkpoint that can't be written, or must not be used; the message says why and what to do."""


class DamagedError(CheckpointError):
    """A checkpoint that is not what was written: cut off, or changed."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Whose state it is: the run, and the data its samples were counted in."""

    exp: str
    signature: str
    train_fingerprint: str
    val_fingerprint: str
    classes: Names = None  # earlier versions noted none


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a run has come: all of it but tensors."""

    step: int = 0
    consumed: int = 0  # samples trained on, over all epochs
    evaluated: int = 0  # the step of the last evaluation, which gave:
    top1: float = 0.0  # percent
    top5: float = 0.0  # percent
    loss: float = 0.0  # nats
    best_top1: float = -1.0  # of all evaluations
    ema_top1: float | None = None  # percent, of the averaged weights, at the same step; None: there are none
    replaced: int = 0  # samples that couldn't be read, so far
    world: int = 1  # processes that wrote it


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The whole state of a run between two steps."""

    identity: Identity
    position: Position
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    meter: torch.Tensor  # sums since the last log line, over all ranks
    masks: dict[str, torch.Tensor]  # of the edges at the last epoch's end, to count which were swapped
    train: dict[str, Any] = dataclasses.field(default_factory=dict)  # which network: dnw.config.plain
    # that wrote it: dnw.training.machine.facts
    machine: dict[str, str] = dataclasses.field(default_factory=dict)
    # of weights and running statistics, by their names in `model`; none before the first step, or without ema
    average: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the bytes of the file."""
    buffer = io.BytesIO()
    values = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    values["identity"] = dataclasses.asdict(checkpoint.identity)
    values["position"] = dataclasses.asdict(checkpoint.position)
    torch.save({"version": VERSION, **values}, buffer)
    return buffer.getvalue()


def write(
    path: Path, encoded: bytes, publish: Callable[[Path], AbstractContextManager[BinaryIO]] = replacing
) -> None:
    """Put a checkpoint under its name, whole or not at all.

    Args:
        path: its name.
        encoded: its content, from `encode`.
        publish: opens what will replace `path`; an attempt's Claim.replacing, to keep the past out.

    Raises:
        CheckpointError: no space, no permission; what was there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with publish(path) as file:
            file.write(encoded)
            file.write(_seal(encoded))
            faults.reach(f"save {path.name}")
    except OSError as error:
        remedy = "make room" if is_full(error) else f"make {path.parent} writable"
        raise CheckpointError(
            f"{path}: not saved, {(error.strerror or str(error)).lower()}; "
            f"{len(encoded) / 2**20:.1f} MiB are needed. "
            f"The checkpoints before it are whole: {remedy}, then start the run again"
        ) from None


def read(path: Path) -> Checkpoint:
    """Read a checkpoint after comparing its digest.

    Raises:
        DamagedError: it is not what was written.
        CheckpointError: it can't be read, is none, or is of another version.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror})") from None
    encoded, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if seal != _seal(encoded):
        if MAGIC not in seal and zipfile.is_zipfile(io.BytesIO(content)):
            raise DamagedError(
                f"{path}: no checkpoint of this project, but a file of torch.save by another program; "
                "python -m dnw.import_reference takes those of the paper's code"
            )
        if content[:2] not in _BEGINNINGS:
            raise DamagedError(
                f"{path}: no checkpoint, nor a part of one; name a run folder, or a file in its checkpoints/"
            )
        raise DamagedError(f"{path}: damaged, its content is not what its SHA-256 was taken of")
    try:
        with warnings.catch_warnings():  # of another pickle's protocol torch asks to be told
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            values = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):  # which speak for pages of what might be allowed
        raise CheckpointError(
            f"{path}: no checkpoint of this project: it holds more than tensors and numbers, or is no file "
            "of torch.save"
        ) from None
    if not isinstance(values, dict) or values.pop("version", None) != VERSION:
        raise CheckpointError(f"{path}: another version of the format; this code reads version {VERSION}")
    values["identity"] = Identity(**values["identity"])
    values["position"] = Position(**values["position"])
    return Checkpoint(**values)


def is_sealed(path: Path) -> bool:
    """Whether a file ends as those do that `write` wrote."""
    if not path.is_file():
        return False
    with open_file(path) as file:
        file.seek(max(0, path.stat().st_size - SEAL_BYTES))
        return file.read().startswith(MAGIC)


def newest_whole(
    folder: Path, pass_over: Callable[[Path, DamagedError], None]
) -> tuple[Path, Checkpoint] | None:
    """Return the newest checkpoint that isn't damaged and its path, or None.

    Args:
        folder: the run's checkpoints.
        pass_over: called with the path of each damaged one, newest first, and what is wrong with it.

    Raises:
        CheckpointError: one is of another version, or can't be read just now: it is not passed over then.
    """
    for step in reversed(steps(folder)):
        path = step_path(folder, step)
        try:
            return path, read(path)
        except DamagedError as error:
            pass_over(path, error)
    return None


def newest(folder: Path, identity: Identity) -> Checkpoint | None:
    """Return the newest whole checkpoint of this run; move damaged ones aside with a warning.

    Raises:
        CheckpointError: it belongs to another run or to other data, is of another version, or can't be read
            just now: it is not passed over then.
    """

    def move_aside(path: Path, error: DamagedError) -> None:
        log.warning("%s; moved aside, going back to the one before", error)
        path.replace(path.with_name(f"{path.name}.damaged"))

    if found := newest_whole(folder, move_aside):
        path, checkpoint = found
        check_identity(path, checkpoint.identity, identity)
        return checkpoint
    if matching(folder, "*.damaged"):
        log.warning("%s: no whole checkpoint is left; the run begins again at step 0", folder)
    return None


def check_identity(path: Path, theirs: Identity, ours: Identity) -> None:
    """Refuse a checkpoint of another run, of other data, or of other classes where both have names.

    Args:
        path: of the checkpoint, for the message.
        theirs: what the checkpoint was made of.
        ours: what goes on.

    Raises:
        CheckpointError: they differ; each difference is named.
    """
    differing = [
        f"  {name}: {a[:16]} in the checkpoint, {b[:16]} in this run"
        for name in ("exp", "signature", "train_fingerprint", "val_fingerprint")
        if (a := getattr(theirs, name)) != (b := getattr(ours, name))
    ]
    if found := classes.differing(theirs.classes, ours.classes):
        differing.append(f"  classes: {found} in this run")
    if not differing:
        return
    lines = [f"{path}: belongs to another run or other data", *differing]
    lines.append("move it away, or start over with fresh=true")
    raise CheckpointError("\n".join(lines))


def prune(folder: Path, keep: int) -> None:
    """Delete all step checkpoints but the newest `keep`."""
    for step in steps(folder)[:-keep]:
        step_path(folder, step).unlink()


def _seal(encoded: bytes) -> bytes:
    return MAGIC + hashlib.sha256(encoded).digest()
