"""The life of a run with each wiring of today: trained, stopped anywhere, evaluated, profiled, compact."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from example import train
from training_steps import trainer

from dnw import models
from dnw.compact import compact
from dnw.config import Train
from dnw.engines import build
from dnw.profile import profile
from dnw.training.checkpoint import Checkpoint, Identity
from dnw.training.data import training_batches
from dnw.training.trainer import Trainer
from dnw.wiring import choose_all, edges_of
from shards.index import Index

STEPS = 3
IDENTITY = Identity("a", "b", "c", "d")
SMALL = {"steps": STEPS, "batch": 8, "micro_batch": 4, "reduce": "exact"}
STATIC = {"model__name": "static", "data__image_size": 16, "data__augment": "resized_crop_flip"}
CASES: dict[str, dict[str, Any]] = {
    "rigl": {"every": 1},
    "set": {"every": 1},
    "gmp": {"every": 1},
    "acdc": {"cycles": 1},
    "str": {},
    "lottery": {"rounds": 1},
    "n_m": {"n": 2, "m": 4},
    "edge_popup": {},
    "dnw": {"hysteresis": 0.1, "average": 0.5, "swaps": 0.1, "dense_until": 0.5, "rescale": True},
}


def config(wiring: str) -> Train:
    width = 0.207 if wiring == "n_m" else 0.05
    return train(**SMALL, **STATIC, width=width, wiring={"name": wiring, **CASES[wiring]})


def go(made: Trainer, split: Index, last: int) -> None:
    first = made.position.step
    batches = iter(training_batches(made.train, split, 0, 1, first, last))
    for _ in range(first, last):
        made.step(batches)


@pytest.mark.parametrize("wiring", CASES)
def test_from_the_first_step_to_the_compact_form(wiring: str, few_images: Path) -> None:
    split, setting = Index.load(few_images, "train"), config(wiring)
    whole, saved = trainer(setting), []
    for step in range(STEPS):
        saved.append(whole.snapshot(IDENTITY))
        go(whole, split, step + 1)
    for checkpoint in saved:
        resumed = trainer(setting)
        resumed.restore(checkpoint)
        go(resumed, split, STEPS)
        assert_same(resumed.snapshot(IDENTITY), whole.snapshot(IDENTITY))
    assert_budget(setting, whole)
    assert_it_is_evaluated_profiled_and_compact(setting, whole.snapshot(IDENTITY))


def assert_same(ours: Checkpoint, theirs: Checkpoint) -> None:
    assert ours.model.keys() == theirs.model.keys()
    for name, tensor in theirs.model.items():
        assert torch.equal(ours.model[name], tensor), name
    momenta = zip(ours.optimizer["state"].values(), theirs.optimizer["state"].values(), strict=True)
    assert all(torch.equal(one["momentum_buffer"], other["momentum_buffer"]) for one, other in momenta)


def assert_budget(setting: Train, whole: Trainer) -> None:
    dnw = edges_of(models.build(train(**{**SMALL, **STATIC, "width": setting.width})))
    for path, (module, edges) in edges_of(whole.model).items():
        assert int(edges.mask.sum()) == dnw[path][1].budget
        assert not (edges.mask & ~dnw[path][1].legal).any()
        module.eval()
        assert not module.weight[~edges.mask].any()


def assert_it_is_evaluated_profiled_and_compact(setting: Train, saved: Checkpoint) -> None:
    model = models.build(setting)
    model.load_state_dict(saved.model)
    choose_all(model, saved.position.step)
    model.eval()
    size = setting.data.image_size
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        logits = model(images)
    assert torch.isfinite(logits).all()
    (edges,) = (edges for _, edges in edges_of(model).values())
    assert profile(model, size).blocks[0].edges == math.ceil(setting.width * 640_000)
    assert int(edges.mask.sum()) == profile(models.build(setting), size).blocks[0].edges
    reduced = build("compact", compact(model, size), size)(images)
    assert torch.allclose(reduced, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max()))
