"""Every file in configs/exp: a few steps of it, killed amid them, resumed, evaluated, profiled."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset
from worker import ROOT, SERVER, assert_same_weights, redirect, train
from workers import small

from dnw import evaluate, speed
from dnw.config import Train
from dnw.models import mobilenet
from dnw.profile.__main__ import main as profile
from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from dnw.training.checkpointed_model import load_checkpointed_model
from dnw.wiring import edges_of, raw_weight
from launch import frozen_config, prepare
from launch.compose import compose
from launch.prepare import RunPlan
from shards import index

# 2 steps of 4 images
FEW = ["steps=2", "batch=4", "micro_batch=2", "data.workers=0", "log.every_steps=1"]
KILLED_AT = "0:save step-00000002.pt"  # the one before is on the disk then
EXPERIMENTS = sorted(
    path.stem for path in (ROOT / "configs" / "exp").glob("*.yaml") if path.stem != "self_test"
)
OTHER_NETWORK = ("resnet50_sparse", "model=torchvision/mobilenet_v3_small", "wiring.budget=global")
OTHER_NETWORKS = [  # in the soak
    ("resnet50_sparse", "model=resnet50"),  # as large as it is
    ("resnet50_sparse", "model=resnet18", "first_layer=dense"),
    ("resnet50_sparse", "model=timm/convnext_atto", "model.channels_last=true", "wiring.leave_dense=[head*]"),
    ("resnet50_sparse", "model=timm/vit_tiny_patch16_224", "wiring=reg_td"),
]
WHOLE = {"imagenet_dnw"}
BF16 = {("imagenet_dnw_x225",), OTHER_NETWORK}  # slow on a CPU without its instructions: one of each recipe
SMALLER = {f"resnet50_{name}": "model=resnet18" for name in ("dense", "sparse", "td")}
FROM_COMPLETE = {"cifar_fine_tune": "cifar_complete", "cifar_one_shot": "cifar_complete"}


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards like those of ImageNet: 1000 classes, of which a few have an image."""
    return drawn(tmp_path_factory.mktemp("photographs"), "jpg", side=120, highest=999)


@pytest.fixture(scope="session")
def icons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards like those of CIFAR-10."""
    return drawn(tmp_path_factory.mktemp("icons"), "png", side=32, highest=9)


def drawn(folder: Path, kind: str, side: int, highest: int) -> Path:
    """12 images of noise to train on, and 6 to validate with."""
    draw = np.random.default_rng(0)
    for split, count in {"train": 12, "val": 6}.items():
        names = f"{folder}/{folder.name}-{split}-%04d.tar"
        with webdataset.ShardWriter(names, maxcount=6, verbose=0) as writer:
            for number in range(count):
                pixels = draw.integers(0, 256, (side, side, 3), np.uint8)
                writer.write({"__key__": f"{split}{number:04d}", kind: pixels, "cls": highest - number % 10})
    index.main([str(folder)])
    return folder


def work(folder: str, fault: str, is_small: bool) -> None:
    """What a worker does, alone."""
    from dnw import train

    if is_small:
        mobilenet.BLOCKS, mobilenet.FEATURES = small.BLOCKS, small.FEATURES
    redirect(Path(folder, "printed"))
    os.environ.update({"DNW_FAULT": fault} if fault else {})
    raise SystemExit(train.main([folder]))


def planned(name: str, words: tuple[str, ...], runs_dir: Path, icons: Path, photographs: Path) -> RunPlan:
    """What the launcher would make of a command line."""
    images = [f"data.dir={photographs}", "data.image_size=80", *filter(None, [SMALLER.get(name)])]
    if "override /data: imagenet" not in (ROOT / "configs" / "exp" / f"{name}.yaml").read_text():
        images = [f"data.dir={icons}"]
    precision = [] if (name, *words[:2]) in BF16 else ["precision=fp32"]
    line = [f"+exp={name}", *FEW, *images, *precision, *words, f"runs_dir={runs_dir}", "cluster=local"]
    (composed,) = compose(line)
    return prepare.plan(composed)


def made(folder: Path, train: Train) -> Run:
    """A run folder with its configuration: what a worker needs."""
    folder.mkdir(parents=True)
    frozen_config.write(Run(folder).config, train)
    return Run(folder)


@pytest.mark.parametrize(
    "words",
    [
        *((name,) for name in EXPERIMENTS),
        OTHER_NETWORK,
        *(pytest.param(words, marks=pytest.mark.soak) for words in OTHER_NETWORKS),
    ],
    ids=" ".join,
)
def test_it_trains_and_resumes_with_the_same_bits_and_evaluates(
    words: tuple[str, ...],
    tmp_path: Path,
    icons: Path,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained(run: Run, fault: str = "", code: int = 0) -> None:
        process = SERVER.Process(target=work, args=(str(run.folder), fault, is_small))
        process.start()
        process.join(timeout=200)
        assert process.exitcode == code, printed(run)

    name, *rest = words
    more, is_small = tuple(rest), name not in WHOLE
    sources: tuple[str, ...] = ()
    if name in FROM_COMPLETE:  # which is found by itself, or named
        plan = planned(FROM_COMPLETE[name], (), tmp_path, icons, photographs)
        trained(made(plan.run.folder, plan.train))
        sources = (f'wiring.source="{plan.run.folder}"',)
    plan = planned(name, more, tmp_path, icons, photographs)
    whole = made(plan.run.folder, plan.train)
    trained(whole)
    if sources:
        plan = planned(name, (*more, *sources), tmp_path, icons, photographs)
    saving = replace(plan.train, checkpoint=replace(plan.train.checkpoint, every_steps=1))
    broken = made(tmp_path / "broken", saving)
    trained(broken, KILLED_AT, -9)
    trained(broken)
    assert [attempt.first_step for attempt in ledger.read(broken)] == [0, 1]
    assert_same_weights(broken, whole)
    assert losses(broken) == losses(whole)
    monkeypatch.setattr(speed, "BATCHES", (1,))
    monkeypatch.setattr(speed, "ENOUGH_S", 0.0)
    with monkeypatch.context() as patch:
        if is_small:
            patch.setattr(mobilenet, "BLOCKS", small.BLOCKS)
            patch.setattr(mobilenet, "FEATURES", small.FEATURES)
        assert evaluate.main([str(broken.folder), "--json"]) == 0
        assert profile([f"+exp={name}", *rest, "--json"]) == 0
    result = json.loads(broken.result.read_text())
    evaluated, profiled = map(json.loads, capsys.readouterr().out.splitlines())
    assert evaluated["top1"] == result["top1"]
    assert profiled["macs"] > 0
    assert (broken.folder / "wiring.png").stat().st_size > 0


def test_a_library_network_on_two_processes(tmp_path: Path, icons: Path, photographs: Path) -> None:
    """With dropout: it draws the same for a micro-batch, whoever takes it and however often it is begun."""
    words = ("model=torchvision/mobilenet_v3_small", "sparsity=0.8", "checkpoint.every_steps=1")
    plan = planned("resnet50_sparse", words, tmp_path, icons, photographs)
    alone, whole, broken = (made(tmp_path / name, plan.train) for name in ("alone", "whole", "broken"))
    for run, nproc in ((alone, 1), (whole, 2)):
        code, output = train(run, nproc)
        assert code == 0, output
    assert train(broken, 2, "1:step 2")[0] != 0
    code, output = train(broken, 2)
    assert code == 0, output
    assert_same_weights(broken, whole)
    assert losses(whole)[0] == pytest.approx(losses(alone)[0], rel=1e-5)
    model = load_checkpointed_model(whole.folder).model
    for name, (module, edges) in edges_of(model).items():
        kept = math.ceil(raw_weight(module).numel() / 5)
        assert int(edges.mask.sum()) == kept, name
        assert int(module.weight.count_nonzero()) <= kept, name


def losses(run: Run) -> list[float]:
    return [line["loss"] for line in jsonl.read(run.metrics) if line["kind"] == "train"]


def printed(run: Run) -> str:
    return (run.folder / "printed").read_text()
