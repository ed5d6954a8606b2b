"""What is taken for a file of weights without torch, and what is said of any other."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_tensors
from torch import nn

from dnw.config import ConfigError
from dnw.pretrained import weights_file

STATE = {"fc.weight": torch.arange(6.0).view(2, 3)}


def saved(values: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(values, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"")
    return buffer.getvalue()


def exported() -> bytes:
    return save_tensors(STATE, {"dnw": json.dumps({})})


def beginning_with(length: bytes) -> bytes:
    """Return a file of safetensors that begins so: with the length of its header, lowest byte first."""
    files = (save_tensors(STATE, {"note": "x" * count}) for count in range(0, 20_000, 8))
    return next(content for content in files if content.startswith(length))


GOOD = {
    "torch": saved(STATE),
    "safetensors": save_tensors(STATE),
    "safetensors that begin as a pickle": beginning_with(b"\x80"),
    "safetensors that begin as a zip": beginning_with(b"PK"),
    "before version 1.6": saved(STATE, _use_new_zipfile_serialization=False),
    "with numbers": saved({"epoch": 3, "lr": 0.1, "arch": "resnet18", "state_dict": STATE}),
}
BAD = {
    "empty": (b"", "empty"),
    "cut off": (saved(STATE)[:-100], "cut off, damaged, or no zip file of torch's; copy it again"),
    "safetensors with more behind": (save_tensors(STATE) + bytes(8), "damaged, .* bytes in place of .*"),
    "safetensors cut off": (save_tensors(STATE)[:-1], "cut off, .* bytes in place of .*"),
    "header cut off": (save_tensors(STATE)[:20], "cut off; copy it again"),
    "page of a server": (b"<!DOCTYPE html>", "HTML or XML, as a server answers in place of a file"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS: git lfs pull fetches the file"),
    "pickle": (pickle.dumps(STATE), "a pickle, which may execute anything; must be a file of safetensors"),
    "text": (b"no more than this", "must be a file of safetensors, or one of torch.save"),
    "zip": (zipped("a.txt"), "a zip file; must be a file of safetensors"),
    "script": (zipped("x/constants.pkl"), "a TorchScript program; save its state_dict"),
    "network": (saved(nn.Linear(3, 2)), "holds objects of torch.nn.modules.linear.Linear, not just tensors"),
    "settings": (
        saved({"state_dict": STATE, "args": argparse.Namespace(lr=1)}),
        "holds objects of argparse.Namespace, not just tensors; save model.state_dict",
    ),
    "exported": (exported(), "as dnw.export writes it; name a checkpoint of its run"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_files_of_weights_pass(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.bin"  # whatever its name
    path.write_bytes(GOOD[kind])
    weights_file.check(path)
    assert weights_file.is_safetensors(path) == kind.startswith("safetensors")


@pytest.mark.parametrize("kind", BAD)
def test_any_other_file_is_refused(tmp_path: Path, kind: str) -> None:
    content, said = BAD[kind]
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^init: {path}: .*{said}"):
        weights_file.check(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").touch()
    for name in "abcd":
        (tmp_path / f"{name}.pth").touch()
    os.mkfifo(tmp_path / "fifo")
    said = {
        tmp_path: r"a folder; name a file in it: a.pth, b.pth, c.pth, and 1 more",
        tmp_path / "run": "a folder; of a run, name a checkpoint: init=.*/run/checkpoints/best.pt",
        tmp_path / "fifo": "is a fifo, must be a file",
        tmp_path / "fifq": r"not there; did you mean fifo\?",
        tmp_path / "away" / "x.pth": "not there, nor is its folder",
    }
    for path, what in said.items():
        with pytest.raises(ConfigError, match=f"^init: {path}: {what}$"):
            weights_file.check(path)


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = weights_file.digest(path)
    path.write_bytes(b"another")
    assert weights_file.digest(path) != first
