"""Each part of a recipe: trained, stopped anywhere, on two processes, evaluated, profiled, exported.

All of it in this process, but for the two that share a step: they take every part, one after the other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from example import train
from exported import CARD
from worker import SERVER

from dnw import models
from dnw.compact import compact
from dnw.config import Train
from dnw.config.wiring import REMEDIES as ALL_REMEDIES
from dnw.engines import build
from dnw.exported import model_file
from dnw.profile import profile
from dnw.training.checkpoint import Checkpoint, Identity, encode, read, write
from dnw.training.data import evaluation_batches, training_batches
from dnw.training.distributed import ALONE, World
from dnw.training.evaluation import evaluate_each
from dnw.training.trainer import Trainer
from dnw.wiring import choose_all, edges_of
from dnw.wiring.scheduled.making import NAMES
from shards.index import Index

STEPS = 3
SAMPLES = 120
SIZE = 16  # of the images that are evaluated
IDENTITY = Identity("a", "b", "c", "d")
SMALL: dict[str, Any] = {
    **{"steps": STEPS, "batch": 8, "micro_batch": 4, "reduce": "exact", "width": 0.05},
    **{"model__name": "static", "data__image_size": SIZE, "data__augment": "resized_crop_flip"},
}
WIRINGS: dict[str, dict[str, Any]] = {
    "rigl": {"every": 1},
    "set": {"every": 1},
    "gmp": {"every": 1},
    "acdc": {"cycles": 1},
    "str": {},
    "lottery": {"rounds": 1},
    "n_m": {"n": 2, "m": 4},
    "edge_popup": {},
}
REMEDIES: dict[str, dict[str, Any]] = {
    "hysteresis": {"hysteresis": 0.1},
    "average": {"average": 0.5},
    "swaps": {"swaps": 0.1},
    "dense_until": {"dense_until": 0.5},
    "rescale": {"rescale": True},
    "at_least": {"at_least": 1},
    "remedies": {"hysteresis": 0.1, "average": 0.5, "swaps": 0.1, "dense_until": 0.5, "rescale": True},
}
OPTIMIZERS = ("adamw", "rmsprop", "adagrad", "timm/lamb", "timm/lion", "timm/nadamw")
OPTIM: dict[str, dict[str, Any]] = {
    "linear": {"schedule": "linear", "warmup_epochs": 0.1},
    "step": {"schedule": "step", "step_epochs": 0.05, "gamma": 0.5},
    "onecycle": {"schedule": "onecycle"},
    "constant": {"schedule": "constant"},
    "ema": {"ema": 0.9},
    "clip": {"clip_norm": 0.01},
    "wired_lr_factor": {"wired_lr_factor": 0.1},
    "no_decay": {"decay_norms": False, "no_decay": ["graph.*"]},
}
PARTS: dict[str, dict[str, Any]] = {
    **{name: {"wiring": {"name": name, **own}} for name, own in WIRINGS.items()},
    **{name: {"wiring": {"name": "dnw", **own}} for name, own in REMEDIES.items()},
    **{name: {f"optim__{key}": value for key, value in own.items()} for name, own in OPTIM.items()},
    **{
        name: {"optim__name": name, "optim__lr": 1e-3, "optim__momentum": None, "optim__weight_decay": 0.01}
        for name in OPTIMIZERS
    },
    "mixed": {"augment": {"mixup": 0.2, "cutmix": 1.0}},
    "sizes": {
        "data__image_size": 20,
        "data__eval_size": 16,
        "augment": {"sizes": [[0, 16], [0.06, 20]]},
    },  # the second of the second step on
    "transforms": {"augment": {"randaugment_ops": 2, "color_jitter": 0.4, "random_erase": 0.5}},
    "rigl, adamw, clip, ema": {
        **{"wiring": {"name": "rigl", "every": 1}, "optim__name": "adamw", "optim__lr": 1e-3},
        **{"optim__momentum": None, "optim__clip_norm": 0.1, "optim__ema": 0.9},
    },
}
PARTS["n_m"]["width"] = 0.207


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As each of the two processes has: another number would sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(part: str) -> Train:
    return train(**SMALL | PARTS[part])


def trainer(setting: Train, world: World = ALONE) -> Trainer:
    return Trainer(setting, models.build(setting), world, SAMPLES)


def go(made: Trainer, split: Index, last: int) -> None:
    first, world = made.position.step, made.world
    batches = iter(training_batches(made.train, split, world.rank, world.size, first, last))
    for _ in range(first, last):
        made.step(batches)


def finished(part: str, images: Path, world: World) -> Checkpoint:
    made = trainer(config(part), world)
    made.begin()
    go(made, Index.load(images, "train"), STEPS)
    return made.snapshot(IDENTITY)


@pytest.mark.parametrize("part", PARTS)
def test_from_the_first_step_to_the_exported_file(part: str, tmp_path: Path, few_images: Path) -> None:
    split, setting = Index.load(few_images, "train"), config(part)
    whole, saved = trainer(setting), [tmp_path / f"{step}.pt" for step in range(STEPS)]
    for step, path in enumerate(saved):
        write(path, encode(whole.snapshot(IDENTITY)))
        go(whole, split, step + 1)
    expected = whole.snapshot(IDENTITY)
    for path in saved:
        resumed = trainer(setting)
        resumed.restore(read(path))
        go(resumed, split, STEPS)
        assert digests(resumed.snapshot(IDENTITY)) == digests(expected)
    assert_budget(setting, whole)
    assert_it_is_evaluated_profiled_and_exported(whole, Index.load(few_images, "val"), expected)


def digests(state: Any, place: str = "") -> dict[str, str]:
    """Those of all tensors of a state, by where they are."""
    if isinstance(state, Checkpoint):
        return digests({"model": state.model, "optimizer": state.optimizer, "average": state.average})
    if isinstance(state, torch.Tensor):
        return {place: hashlib.sha256(state.contiguous().numpy().tobytes()).hexdigest()}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {key: one for name, inner in items for key, one in digests(inner, f"{place}/{name}").items()}


def assert_budget(setting: Train, whole: Trainer) -> None:
    dnw = edges_of(models.build(train(**SMALL | {"width": setting.width})))
    for path, (module, edges) in edges_of(whole.model).items():
        assert int(edges.mask.sum()) == dnw[path][1].budget
        assert not (edges.mask & ~dnw[path][1].legal).any()
        module.eval()
        assert not module.weight[~edges.mask].any()


def assert_it_is_evaluated_profiled_and_exported(whole: Trainer, val: Index, saved: Checkpoint) -> None:
    setting = whole.train
    networks = whole.networks()
    assert len(networks) == (1 if setting.optim.ema is None else 2)
    whole.model.eval()
    for found in evaluate_each(networks, evaluation_batches(setting, val, 0, 1), whole.normalize, ALONE):
        assert (found.samples, math.isfinite(found.loss)) == (val.num_samples, True)
    model = models.build(setting)
    model.load_state_dict(saved.model)
    choose_all(model, saved.position.step)
    model.eval()
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        logits = model(images)
    (edges,) = (edges for _, edges in edges_of(model).values())
    assert profile(model, SIZE).blocks[0].edges == math.ceil(setting.width * 640_000)
    assert int(edges.mask.sum()) == profile(models.build(setting), SIZE).blocks[0].edges
    network, _ = model_file.decode(model_file.encode(compact(model, SIZE), CARD))
    exported = build("compact", network.tensors(), SIZE)(images)
    assert torch.allclose(exported, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max()))


def test_each_wiring_with_a_schedule_and_each_remedy_is_among_them() -> None:
    assert set(WIRINGS) == NAMES
    assert {key for own in REMEDIES.values() for key in own} == set(ALL_REMEDIES)


@pytest.mark.timeout(600)
def test_two_processes_come_to_the_bits_of_one(tmp_path: Path, few_images: Path) -> None:
    """reduce=exact; rigl's gradients, from which its edges grow, included."""
    processes = [SERVER.Process(target=shared, args=(rank, tmp_path, few_images)) for rank in range(2)]
    for process in processes:
        process.start()
    alone = {part: digests(finished(part, few_images, ALONE)) for part in PARTS}
    for process in processes:
        process.join(timeout=300)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone


def shared(rank: int, folder: Path, images: Path) -> None:
    """What one of the two processes does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    world = World(rank, 2, 1, torch.device("cpu"))
    found = {part: digests(finished(part, images, world)) for part in PARTS}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
