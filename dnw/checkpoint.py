"""Checkpoints: atomic, with a digest, and with the name of the run they belong to.

Each file is written under a temporary name, synced and renamed; its SHA-256 lies beside it in the form
that `sha256sum -c` reads, and is renamed into place first, so a checkpoint is never without it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from dnw import faults

VERSION = 1
log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint that can't be written, or must not be used; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Whose state it is: the run, and the data its samples were counted in."""

    exp: str
    signature: str
    train_fingerprint: str
    val_fingerprint: str


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


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}.pt"


def steps(folder: Path) -> list[int]:
    """The steps there are checkpoints of, rising."""
    names = (re.fullmatch(r"step-(\d{8})\.pt", path.name) for path in folder.glob("step-*.pt"))
    return sorted(int(name[1]) for name in names if name)


def encode(checkpoint: Checkpoint) -> bytes:
    """The bytes of the file."""
    buffer = io.BytesIO()
    values = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    values["identity"] = dataclasses.asdict(checkpoint.identity)
    values["position"] = dataclasses.asdict(checkpoint.position)
    torch.save({"version": VERSION, **values}, buffer)
    return buffer.getvalue()


def write(path: Path, encoded: bytes) -> None:
    """Put a checkpoint under its name, whole or not at all.

    Raises:
        CheckpointError: no space, no permission; what was there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        line = f"{hashlib.sha256(encoded).hexdigest()}  {path.name}\n"
        parts = [(path, encoded), (_digest_path(path), line.encode())]
        temporary = [_write_temporary(target, content) for target, content in parts]
        temporary[1].replace(_digest_path(path))
        faults.reach(f"save {path.name}")
        temporary[0].replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        for leftover in path.parent.glob(f".{path.name}*.tmp"):
            leftover.unlink()
        raise CheckpointError(
            f"{path}: not saved, {(error.strerror or str(error)).lower()}; "
            f"{len(encoded) / 2**20:.1f} MiB are needed. "
            "The checkpoints before it are whole: make room, then start the run again"
        ) from None


def read(path: Path) -> Checkpoint:
    """Read a checkpoint after comparing its digest.

    Raises:
        CheckpointError: missing, damaged, or of another version.
    """
    try:
        encoded = path.read_bytes()
        expected = _digest_path(path).read_text().split()[0]
    except (OSError, IndexError) as error:
        raise CheckpointError(f"{path}: can't be read ({error})") from None
    found = hashlib.sha256(encoded).hexdigest()
    if found != expected:
        raise CheckpointError(
            f"{path}: damaged, its SHA-256 is {found[:12]}… where {expected[:12]}… was written"
        )
    try:
        values = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise CheckpointError(f"{path}: no checkpoint of this project ({error})") from None
    if values.pop("version", None) != VERSION:
        raise CheckpointError(f"{path}: another version of the format; this code reads version {VERSION}")
    values["identity"] = Identity(**values["identity"])
    values["position"] = Position(**values["position"])
    return Checkpoint(**values)


def newest(folder: Path, identity: Identity) -> Checkpoint | None:
    """The newest whole checkpoint of this run; damaged ones are passed over with a warning.

    Raises:
        CheckpointError: it belongs to another run or to other data.
    """
    for step in reversed(steps(folder)):
        path = step_path(folder, step)
        try:
            checkpoint = read(path)
        except CheckpointError as error:
            log.warning("%s; going back to the one before", error)
            continue
        check_identity(path, checkpoint.identity, identity)
        return checkpoint
    return None


def check_identity(path: Path, theirs: Identity, ours: Identity) -> None:
    """Refuse a checkpoint of another run or of other data."""
    if theirs == ours:
        return
    lines = [f"{path}: belongs to another run or other data"]
    for field in dataclasses.fields(Identity):
        a, b = getattr(theirs, field.name), getattr(ours, field.name)
        if a != b:
            lines.append(f"  {field.name}: {a} in the checkpoint, {b} in this run")
    lines.append("move it away, or start over with fresh=true")
    raise CheckpointError("\n".join(lines))


def prune(folder: Path, keep: int) -> None:
    """Delete all step checkpoints but the newest `keep`, and what killed saves left."""
    for step in steps(folder)[:-keep]:
        path = step_path(folder, step)
        path.unlink()
        _digest_path(path).unlink(missing_ok=True)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_temporary(target: Path, content: bytes) -> Path:
    path = target.with_name(f".{target.name}.tmp")
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
