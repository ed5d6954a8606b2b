from __future__ import annotations

import dataclasses
import io
import itertools
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from example import train
from hypothesis import given
from hypothesis import strategies as st
from object_store import http
from PIL import Image
from torch.utils.data import DataLoader

from dnw.augmentation.random_box import random_box
from dnw.config import ConfigError, Train
from dnw.splits import open_splits
from dnw.training.data import (
    EvaluationBatches,
    batches_of_attempt,
    digest,
    evaluation_batches,
    evaluation_count,
    training_batches,
)
from dnw.training.distributed import ALONE
from shards import index, remote
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.rng import uniforms


def global_batches(config: Train, split: Index, world: int) -> list[list[int]]:
    """The digests of all micro-batches, a list per step, as `world` processes would load them."""
    per_rank = [
        list(map(digest, training_batches(config, split, rank, world, 0, 8))) for rank in range(world)
    ]
    share = config.batch // config.micro_batch // world
    return [
        list(itertools.chain(*(part[step * share : (step + 1) * share] for part in per_rank)))
        for step in range(8)
    ]


@pytest.mark.parametrize("world", [2, 4])
def test_global_batches_are_the_same_on_any_number_of_processes(few_images: Path, world: int) -> None:
    """Over the end of an epoch too: 8 steps of 32 are 256 of 120 images."""
    config, split = train(), Index.load(few_images, "train")
    assert global_batches(config, split, world) == global_batches(config, split, 1)


def test_loading_processes_change_nothing(few_images: Path) -> None:
    split = Index.load(few_images, "train")
    assert global_batches(train(data__workers=2), split, 1) == global_batches(train(), split, 1)


def test_goes_on_at_any_step(few_images: Path) -> None:
    config, split = train(), Index.load(few_images, "train")
    whole = [digest(batch) for batch in training_batches(config, split, 0, 1, 0, 8)]
    for step in range(8):
        rest = [digest(batch) for batch in training_batches(config, split, 0, 1, step, 8)]
        assert rest == whole[step * 4 :]


def test_spawned_processes_load_the_same_as_forked_ones(few_images: Path) -> None:
    config = train(data__workers=1)
    forked = training_batches(config, Index.load(few_images, "train"), 0, 1, 2, 5)
    spawned = DataLoader(
        forked.dataset,
        batch_size=None,
        sampler=forked.sampler,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    expected = [digest(batch) for batch in forked]
    assert [digest(batch) for batch in spawned] == expected
    assert len(set(expected)) == len(expected) == 12


def test_cut_off_after_every_step_and_moved_to_other_ranks(few_images: Path) -> None:
    """Each step by new readers with new workers, which were ahead when they were ended."""
    config, split = train(data__workers=1), Index.load(few_images, "train")
    whole = global_batches(train(), split, 1)
    for step, world in enumerate([1, 4, 2, 1, 2, 4, 4, 1]):
        found = []
        for rank in range(world):
            batches = iter(training_batches(config, split, rank, world, step, 8))
            found += [digest(next(batches)) for _ in range(4 // world)]
        assert found == whole[step]


def test_a_batch_of_a_worker_stays_until_the_one_after_the_next(few_images: Path) -> None:
    index = Index.load(few_images, "train")
    expected = [digest(batch) for batch in training_batches(train(), index, 0, 1, 0, 10)]
    batches = training_batches(train(data__workers=1), index, 0, 1, 0, 10)
    taken = []
    for batch in batches:
        time.sleep(0.02)  # the worker is as far ahead as it may be
        taken.append(batch)
        assert [digest(one) for one in taken[-2:]] == expected[: len(taken)][-2:]
    assert len(taken) == len(expected) == 40
    assert len({batch.images_BCHW.data_ptr() for batch in taken}) < 40, "no memory is used again"


def test_an_epoch_shows_every_image_once_and_each_epoch_anew(few_images: Path) -> None:
    config = train(batch=40, micro_batch=40, data__augment="none")
    batches = list(training_batches(config, Index.load(few_images, "train"), 0, 1, 0, 6))
    epochs = [torch.cat([images for images, *_ in batches[n : n + 3]]) for n in (0, 3)]
    first, second = ([image.numpy().tobytes() for image in epoch] for epoch in epochs)
    assert len(set(first)) == len(first) == 120
    assert sorted(first) == sorted(second)
    assert first != second


@given(samples=st.integers(1, 500), batch=st.integers(1, 70), world=st.integers(1, 9))
def test_evaluation_takes_every_sample_once_and_ranks_keep_pace(samples: int, batch: int, world: int) -> None:
    spans = [list(EvaluationBatches(samples, batch, rank, world)) for rank in range(world)]
    seen = [n for rank in spans for start, stop in rank for n in range(start, stop)]
    assert seen == list(range(samples))
    assert len({len(rank) for rank in spans}) == 1
    batches = [span for rank in spans for span in rank if span[0] < span[1]]
    assert batches == list(EvaluationBatches(samples, batch, 0, 1)), "other batches than one rank alone has"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("first", "evaluated"), [(0, {2, 5}), (2, {2, 5}), (2, {5})])
def test_one_loader_gives_training_and_evaluations_in_their_order(
    few_images: Path, workers: int, first: int, evaluated: int
) -> None:
    """The same as a loader for each, on each rank; also where an attempt begins with an evaluation."""
    config = train(data__workers=workers, eval_batch=20)
    splits = Index.load(few_images, "train"), Index.load(few_images, "val")
    for rank in range(2):
        world = dataclasses.replace(ALONE, rank=rank, size=2)
        found = batches_of_attempt(config, splits, world, range(first, 5), evaluated.__contains__)
        steps = list(map(digest, training_batches(config, splits[0], rank, 2, first, 5)))
        evaluation = list(map(digest, evaluation_batches(config, splits[1], rank, 2)))
        assert len(evaluation) == evaluation_count(config, splits[1], world) == 2
        expected = evaluation if first in evaluated else []
        for step in range(first, 5):
            start = 2 * (step - first)
            expected = expected + steps[start : start + 2] + (evaluation if step + 1 in evaluated else [])
        assert [digest(batch) for batch in found] == expected


def test_a_larger_batch_of_the_other_split_leaves_the_last_two_alone(few_images: Path) -> None:
    """Memory is used again for batches of either size."""
    config = train(data__workers=1, eval_batch=20)
    splits = Index.load(few_images, "train"), Index.load(few_images, "val")
    arguments = (splits, ALONE, range(10), lambda step: step > 0)
    expected = [digest(batch) for batch in batches_of_attempt(train(eval_batch=20), *arguments)]
    taken = []
    for batch in batches_of_attempt(config, *arguments):
        time.sleep(0.02)  # the worker is as far ahead as it may be
        taken.append(batch)
        assert [digest(one) for one in taken[-2:]] == expected[: len(taken)][-2:]
    assert len(taken) == len(expected) == 10 * (4 + 3)


@pytest.mark.parametrize("computes_there", [False, True])
def test_memory_is_locked_for_a_gpu_that_is_computed_on(
    few_images: Path, monkeypatch: pytest.MonkeyPatch, computes_there: bool
) -> None:
    """A run on the CPU asks nothing of a GPU beside it, which another process may have for itself."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: computes_there)
    split = Index.load(few_images, "val")
    assert evaluation_batches(train(), split, 0, 1).pin_memory is computes_there


@pytest.mark.parametrize("kind", ["none", "crop_flip", "resized_crop_flip"])
def test_images_have_the_size_of_their_step_and_of_the_evaluation(few_images: Path, kind: str) -> None:
    """120 images, 32 a step: the third step begins in the second half of the epoch, the fifth behind it."""
    changes: dict[str, Any] = {"data__augment": kind, "data__eval_size": 40, "data__workers": 1}
    config = train(augment={"sizes": [[0, 16], [0.5, 24], [1, 32]]}, **changes)
    splits = Index.load(few_images, "train"), Index.load(few_images, "val")
    loader = batches_of_attempt(config, splits, ALONE, range(5), lambda step: step == 3)
    sides = [tuple(batch.images_BCHW.shape[1:]) for batch in loader]
    of_steps = [[(3, side, side)] * 4 for side in (16, 16, 24, 24, 32)]
    evaluation = [(3, 40, 40)] * evaluation_count(config, splits[1], ALONE)
    assert sides == list(itertools.chain(*of_steps[:3], evaluation, *of_steps[3:]))


def test_evaluation_shows_images_as_they_are(few_images: Path) -> None:
    split = Index.load(few_images, "val")
    images, labels, _ = next(iter(evaluation_batches(train(), split, 0, 1)))
    assert images.shape == (50, 3, 32, 32)
    assert images.dtype == torch.uint8
    stored = Image.open(io.BytesIO(Reader(split).read(7).data)).convert("RGB")
    assert np.array_equal(images[7].permute(1, 2, 0).numpy(), np.asarray(stored))
    assert labels[7] == Reader(split).read(7).label


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**40))
def test_random_boxes_lie_in_the_photograph(width: int, height: int, seed: int) -> None:
    left, top, right, bottom = random_box(width, height, uniforms(seed, n=40))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_random_boxes_are_spread_as_the_recipe_says() -> None:
    boxes = [random_box(500, 375, uniforms(seed, n=40)) for seed in range(3000)]
    areas = [(r - l) * (b - t) / (500 * 375) for l, t, r, b in boxes]  # noqa: E741
    ratios = [(r - l) / (b - t) for l, t, r, b in boxes]  # noqa: E741
    assert 0.079 <= min(areas) < 0.1
    assert 0.4 < np.mean(areas) < 0.54
    assert 0.74 < min(ratios) < 0.78
    assert 1.29 < max(ratios) < 1.35


@pytest.mark.parametrize(("augment", "size"), [("resized_crop_flip", 24), ("crop_flip", 32), ("none", 32)])
def test_every_augmentation_gives_the_size_asked_for(few_images: Path, augment: str, size: int) -> None:
    config = train(data__augment=augment, data__image_size=size)
    split = Index.load(few_images, "train")
    for batches in (training_batches(config, split, 0, 1, 0, 1), evaluation_batches(config, split, 0, 1)):
        images, *_ = next(iter(batches))
        assert images.shape[1:] == (3, size, size)


def with_bad_images(folder: Path, bad: Collection[int], count: int = 20) -> Index:
    """Shards of `count` images, all of one grey, of which those in `bad` are no images."""
    with webdataset.ShardWriter(f"{folder}/some-train-%04d.tar", maxcount=8, verbose=0) as writer:
        for number in range(count):
            grey = np.full((32, 32, 3), 10 * number, np.uint8)
            image = b"this is text" if number in bad else grey
            writer.write({"__key__": f"key{number:02d}", "png": image, "cls": number % 10})
    index.main([str(folder)])
    return Index.load(folder, "train")


@pytest.mark.parametrize("workers", [0, 1])
def test_where_nothing_can_be_read_the_first_is_named(tmp_path: Path, workers: int) -> None:
    split = with_bad_images(tmp_path, range(20))
    config = train(data__workers=workers, batch=1, micro_batch=1)
    with pytest.raises(
        ShardError,
        match=r"some-train-000\d\.tar: key key\d\d at byte \d+: no image that can be read \(cannot identify",
    ):
        next(iter(training_batches(config, split, 0, 1, 0, 1)))


def test_what_cannot_be_read_is_replaced_and_nothing_else_moves(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "bad").mkdir()
    bad = {3, 11}
    config = train(batch=5, micro_batch=5, data__augment="none")
    whole, broken = (
        [list(training_batches(config, split, 0, 1, 0, 12)) for _ in range(2)]
        for split in (with_bad_images(tmp_path / "whole", ()), with_bad_images(tmp_path / "bad", bad))
    )
    assert [digest(batch) for batch in broken[0]] == [digest(batch) for batch in broken[1]]
    shown, there = (
        torch.cat([batch.images_BCHW[:, 0, 0, 0] for batch in made[0]]) for made in (whole, broken)
    )
    same = shown == there
    assert sorted({int(grey) // 10 for grey in shown[~same]}) == sorted(bad)
    assert int((~same).sum()) == 3 * len(bad)  # once in each of three epochs
    replaced = torch.cat([batch.replaced_R for batch in broken[0]]).tolist()
    assert set(replaced) == bad
    assert len(replaced) >= 3 * len(bad)
    assert not any(len(batch.replaced_R) for batch in whole[0])


def test_a_shard_that_cannot_be_had_just_now_is_no_bad_image(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later attempt will have it, so no other image may take its place."""
    monkeypatch.setattr(remote, "TRIES", 1)
    with http(few_images) as served:
        for name in ("train", "val"):
            remote.fetch_index(served.url, tmp_path / "index", name)
        served.faults = [(".tar", "busy")] * 1000
        places = {
            "data__url": served.url,
            "data__dir": str(tmp_path / "index"),
            "data__cache": str(tmp_path / "c"),
        }
        config = train(data__workers=0, **places)
        split, _ = open_splits(config.data)
        with pytest.raises(ShardError, match="can't be fetched"):
            next(iter(training_batches(config, split, 0, 1, 0, 1)))


def test_in_evaluation_nothing_takes_the_place_of_another(tmp_path: Path) -> None:
    split = with_bad_images(tmp_path, {4})
    with pytest.raises(ShardError, match="key key04 at byte"):
        list(evaluation_batches(train(), split, 0, 1))


def test_image_of_another_size_is_refused_with_the_remedy(few_images: Path) -> None:
    config = train(data__image_size=64)
    with pytest.raises(
        ConfigError,
        match=r"\.tar: key train\d+ at byte \d+: an image of 32x32 pixels where data\.image_size=64",
    ):
        next(iter(training_batches(config, Index.load(few_images, "train"), 0, 1, 0, 1)))


def test_other_shards_than_the_frozen_ones_are_refused(few_images: Path) -> None:
    config = train(data__dir=str(few_images), data__train_fingerprint="0" * 64)
    with pytest.raises(ShardError, match=r"other shards than this run began with[\s\S]*fresh=true"):
        open_splits(config.data)
