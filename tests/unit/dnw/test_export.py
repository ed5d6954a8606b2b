"""A network in one file: what was trained comes out, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import example
import onnx
import pytest
import run_folder
import torch
from drawn_networks import (
    drawn,
    error,
    images,
    one_thread,  # noqa: F401
)
from exported import expected_of
from folder_digest import digest
from torch import nn

import dnw
from dnw import models
from dnw.config import load
from dnw.export import card_of, main
from dnw.identity import signature
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, Identity, Position
from dnw.training.checkpointed_model import CheckpointedModel

pytestmark = pytest.mark.usefixtures("one_thread")


def test_importing_dnw_brings_no_torch() -> None:
    code = "import sys, dnw; assert callable(dnw.load); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def _run(folder: Path, network: nn.Module, **changes: Any) -> Run:
    run = run_folder.make(folder, **changes)
    saved = Checkpoint(
        identity=Identity("example", signature(load(run.config)), "", ""),
        position=Position(step=10),
        model=network.state_dict(),
        optimizer={},
        meter=torch.zeros(3, dtype=torch.float64),
        masks={},
    )
    checkpoint.write(step_path(run.checkpoints, 10), checkpoint.encode(saved))
    return run


def test_export_of_a_run(
    tmp_path: Path,
    fashion_mnist_shards: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = drawn("static", 32, oddity=None)
    run = _run(tmp_path, network)
    out, graph = tmp_path / "static.safetensors", tmp_path / "static.onnx"
    arguments = [str(run.folder), str(out), "--onnx", str(graph), "--data", str(fashion_mnist_shards)]
    assert main(arguments) == 0
    assert f"edges, step 10, described in {tmp_path / 'static.card.md'}\n" in capsys.readouterr().out
    page = (tmp_path / "static.card.md").read_text()
    assert 'dnw.load("static.safetensors")' in page
    assert "not known: no evaluation at step 10" in page
    monkeypatch.chdir(tmp_path)
    loaded = dnw.load("static.safetensors", engine="csr")
    assert loaded.card.class_names is not None
    assert len(loaded.card.class_names) == 10
    assert loaded.card.step == 10
    x = images(2, 32)
    assert error(loaded(x), expected_of(network, x)) < 1e-5
    properties = {one.key: json.loads(one.value) for one in onnx.load(graph).metadata_props}
    assert properties["mean"] == [0.5, 0.5, 0.5]
    assert properties["image_size"] == 32


def test_export_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "out.safetensors")
    assert main([str(tmp_path / "none"), out]) == 1
    assert "none: no such run folder or checkpoint" in capsys.readouterr().err
    run = _run(tmp_path, drawn("static", 32, oddity=None))
    assert main([str(run.folder), str(tmp_path / "no" / "folder.safetensors")]) == 1
    assert "its folder" in capsys.readouterr().err
    assert main([str(run.folder), out, "--data", str(tmp_path)]) == 1
    assert "no shards" in capsys.readouterr().err
    discrete = models.build(example.train(model__name="discrete"))
    other = _run(tmp_path / "other", discrete, model__name="discrete")
    assert main([str(other.folder), out]) == 1
    assert "model=discrete has no compact form, only mobilenet and static have" in capsys.readouterr().err
    assert not Path(out).exists()


@pytest.mark.parametrize("words", [["x.pt"], ["x"], ["x.safetensors", "--onnx", "x.pb"], ["x.ONNX"]])
def test_a_name_that_says_no_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path, drawn("static", 32, oddity=None))
    before = digest(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([str(run.folder), *words])
    assert ended.value.code == 2
    assert f"{words[-1]!r}: must end in " in capsys.readouterr().err
    assert digest(tmp_path) == before


def test_onnx_by_its_name(tmp_path: Path) -> None:
    run = _run(tmp_path, drawn("static", 32, oddity=None))
    assert main([str(run.folder), str(tmp_path / "x.onnx")]) == 0
    onnx.checker.check_model(onnx.load(tmp_path / "x.onnx"))
    assert not list(tmp_path.glob("*.safetensors"))


def test_card_of_photographs() -> None:
    sizes = {"data__image_size": 160, "data__eval_size": 224}
    train = example.train(model__name="mobilenet", data__augment="resized_crop_flip", **sizes)
    train = dataclasses.replace(train, data=dataclasses.replace(train.data, dir=Path("nowhere")))
    card = card_of(CheckpointedModel(train, nn.Identity(), 3, None, Path("none")))
    assert (card.resize, card.image_size, card.class_names, card.step) == (256, 224, None, 3)
    assert card.stored is None


def test_card_of_an_augmentation_of_ones_own() -> None:
    """Images are of one size, or photographs: dnw/augmentation/crop.py looks at each."""
    train = example.train(model__name="mobilenet", data__image_size=160, data__augment="my_lab.images.Own")
    train = dataclasses.replace(train, data=dataclasses.replace(train.data, dir=Path("nowhere")))
    card = card_of(CheckpointedModel(train, nn.Identity(), 3, None, Path("none")))
    assert (card.resize, card.image_size, card.stored) == (183, 160, 160)
