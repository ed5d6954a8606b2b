"""Command lines as a careless researcher types them, answered in this process; digests of what is on disk."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from dnw import evaluate, export, import_reference, models, train
from dnw.config import load
from dnw.profile import __main__ as profile
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, Identity, Position
from launch import app, runs
from shards import command, index, verify, write

DAC = 1 << 1 | 1 << 2  # <linux/capability.h>: may pass over permissions, may read everything


@dataclass(frozen=True)
class Answer:
    """What a line was answered."""

    code: int
    out: str
    err: str


def type_line(line: str, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> Answer:
    """Type a line, whose first word names the command, and return what is answered."""
    name, *words = shlex.split(line)
    capsys.readouterr()
    with patch.context() as patched:
        patched.setattr(sys, "argv", [f"launch/{name}.py", *words])
        try:
            code = _commands(words)[name]()
        except SystemExit as end:
            code = int(end.code or 0)
    return Answer(code, *capsys.readouterr())


def _commands(words: Sequence[str]) -> dict[str, Callable[[], int]]:
    listed = list(words)
    shards = {"write": write.main, "verify": verify.main, "index": index.main}
    return {
        "slurm": partial(app.main, app.background),
        "local": partial(app.main, app.foreground),
        "runs": partial(runs.main, listed),
        "train": partial(train.main, listed),
        "evaluate": partial(evaluate.main, listed),
        "export": partial(export.main, listed),
        "profile": partial(profile.main, listed),
        "import": partial(import_reference.main, listed),
        **{name: partial(command.run, partial(main, listed)) for name, main in shards.items()},
    }


def save(run: Run, step: int) -> Path:
    """Write a checkpoint of a run that was prepared."""
    model = models.build(load(run.config))
    identity = Identity("example", "0", "", "")
    saved = Checkpoint(identity, Position(step=step), model.state_dict(), {}, torch.zeros(3), {})
    path = step_path(run.checkpoints, step)
    checkpoint.write(path, checkpoint.encode(saved))
    return path


@contextlib.contextmanager
def held_to_permissions() -> Iterator[None]:
    """Have the permissions of files hold for this thread, also where it belongs to root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of the lower 32, then of the upper
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~DAC
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0
