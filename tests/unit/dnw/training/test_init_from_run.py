"""Runs that begin with what another came to: fine-tuning, and the one-shot lottery ticket."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from example import train
from torch import nn

from dnw import models
from dnw.config import ConfigError, Train, dump
from dnw.identity import signature
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, CheckpointError, Identity
from dnw.training.data import training_batches
from dnw.training.distributed import ALONE
from dnw.training.init_from_run import init_from_run
from dnw.training.trainer import Trainer
from dnw.wiring import edges_of, raw_weight
from shards.index import Index

STEPS = 3


@dataclasses.dataclass(frozen=True)
class Source:
    """A finished run of a complete graph."""

    run: Run
    init: Checkpoint
    last: Checkpoint

    def config(self, wiring: str, **changes: Any) -> Train:
        found = signature(train(wiring__name="complete"))
        own = {"wiring__source": str(self.run.folder), "wiring__source_signature": found}
        return train(wiring__name=wiring, **{**own, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, few_images: Path) -> Source:
    config = train(wiring__name="complete")
    run = Run(tmp_path_factory.mktemp("complete") / "default")
    run.checkpoints.mkdir(parents=True)
    run.config.write_text(dump(config))
    identity = Identity(config.exp, signature(config), "1", "2")
    trainer = Trainer(config, models.build(config), ALONE, samples=120)
    init = trainer.snapshot(identity)
    batches = iter(training_batches(config, Index.load(few_images, "train"), 0, 1, 0, STEPS))
    for _ in range(STEPS):
        trainer.step(batches)
    last = trainer.snapshot(identity)
    checkpoint.write(run.checkpoints / "init.pt", checkpoint.encode(init))
    checkpoint.write(step_path(run.checkpoints, STEPS), checkpoint.encode(last))
    run.result.write_text(json.dumps({"steps": STEPS}))
    return Source(run, init, last)


@pytest.fixture
def source(trained: Source, tmp_path: Path) -> Source:
    """Its own copy for each test."""
    folder = shutil.copytree(trained.run.folder, tmp_path / "default")
    return dataclasses.replace(trained, run=Run(folder))


def started(config: Train) -> nn.Module:
    model = models.build(dataclasses.replace(config, seed=99))  # its own weights must not matter
    init_from_run(config, model)
    return model


def strongest(weight: torch.Tensor, legal: torch.Tensor | None, budget: int) -> torch.Tensor:
    size = weight.abs() if legal is None else torch.where(legal, weight.abs(), -1)
    return size >= size.flatten().sort(descending=True).values[budget - 1]


@pytest.mark.parametrize("wiring", ["fine_tune", "one_shot"])
def test_edges_are_the_strongest_of_the_end_and_weights_of_end_or_beginning(
    source: Source, wiring: str
) -> None:
    model = started(source.config(wiring))
    weights = source.last.model if wiring == "fine_tune" else source.init.model
    state = model.state_dict()
    assert {name for name in state if name not in weights} == {"graph.parametrizations.weight.0.mask"}
    assert all(torch.equal(state[name], tensor) for name, tensor in weights.items())
    ((module, edges),) = edges_of(model).values()
    trained = source.last.model["graph.parametrizations.weight.original"]
    assert torch.equal(edges.mask, strongest(trained, edges.legal, 32_000))
    assert torch.equal(module.weight, raw_weight(module) * edges.mask)  # type: ignore[arg-type]
    assert (
        not torch.equal(edges.mask, strongest(raw_weight(module), edges.legal, 32_000))
        or wiring == "fine_tune"
    )


@pytest.mark.parametrize("wiring", ["fine_tune", "one_shot"])
def test_training_on_and_resuming_need_no_source(source: Source, few_images: Path, wiring: str) -> None:
    config = source.config(wiring)
    split = Index.load(few_images, "train")
    trainer = Trainer(config, started(config), ALONE, samples=120)
    mask = trainer.current_masks()["graph"]
    batches = iter(training_batches(config, split, 0, 1, 0, 4))
    for _ in range(2):
        trainer.step(batches)
    saved = trainer.snapshot(Identity("a", "b", "c", "d"))
    for _ in range(2):
        trainer.step(batches)
    source.run.config.unlink()
    resumed = Trainer(config, models.build(config), ALONE, samples=120)
    resumed.restore(saved)
    batches = iter(training_batches(config, split, 0, 1, 2, 4))
    for _ in range(2):
        resumed.step(batches)
    ours, theirs = resumed.model.state_dict(), trainer.model.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert torch.equal(resumed.current_masks()["graph"], mask)


def test_a_source_that_is_gone_or_another_is_refused(source: Source) -> None:
    with pytest.raises(ConfigError, match="is another run than it was: its signature is"):
        started(source.config("fine_tune", wiring__source_signature="0123456789"))
    source.run.config.unlink()
    with pytest.raises(
        ConfigError, match=r"is gone; bring it back, or .* with wiring.source= where it is now"
    ):
        started(source.config("fine_tune"))


def test_an_unfinished_source_is_refused(source: Source) -> None:
    source.run.result.unlink()
    with pytest.raises(ConfigError, match="has not finished; let it, then start this run"):
        started(source.config("fine_tune"))


def test_weights_of_another_network_are_refused_with_both_sides(source: Source) -> None:
    config = source.config("fine_tune", data__classes=3)
    with pytest.raises(CheckpointError) as error:
        started(config)
    assert str(error.value).endswith(
        "weights of another network\n"
        "  fc.bias: in the file (10,), in the model (3,)\n"
        "  fc.weight: in the file (10, 100), in the model (3, 100)"
    )


def test_many_differences_are_counted(source: Source) -> None:
    with pytest.raises(CheckpointError, match=r"another network(\n  .*){8}\n  and \d+ more$"):
        started(source.config("fine_tune", model__name="mobilenet"))


def test_a_checkpoint_of_another_run_is_refused(source: Source) -> None:
    foreign = dataclasses.replace(source.init, identity=Identity("a", "ffffffffff", "c", "d"))
    path = source.run.checkpoints / "init.pt"
    checkpoint.write(path, checkpoint.encode(foreign))
    with pytest.raises(CheckpointError, match=r"belongs to another run \(ffffffffff, not"):
        started(source.config("one_shot"))
    os.truncate(path, 100)
    with pytest.raises(CheckpointError, match="damaged"):
        started(source.config("one_shot"))


def test_weights_that_are_not_finite_are_refused(source: Source) -> None:
    saved = dataclasses.replace(
        source.init, model={name: held.clone() for name, held in source.init.model.items()}
    )
    next(held for held in saved.model.values() if held.is_floating_point()).view(-1)[0] = float("nan")
    checkpoint.write(source.run.checkpoints / "init.pt", checkpoint.encode(saved))
    with pytest.raises(CheckpointError, match=r"aren't finite, in .*: name another run with wiring.source="):
        started(source.config("one_shot"))
