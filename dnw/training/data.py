"""From positions in the training order to tensors: which images a process loads, decodes and augments.

Position p is place p % N of epoch p // N (shards.order). Step t takes positions [t*batch, (t+1)*batch),
cut into micro-batches; a rank takes its contiguous share of them. Augmentation draws from
(seed, epoch, place), so an image looks the same whoever loads it.

A sample that is damaged is replaced in training by another, drawn from (seed, epoch, place) too: were it
passed over, all batches after it would shift. In evaluation every sample counts, so there it is an error. A
shard that can't be had just now is always one: a later attempt will have it, and must see the same images.

Shapes: B images of a micro-batch, C = 3 channels, H = W, R samples that were replaced.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from dnw.augmentation.crop import OF_ONE_SIZE, for_evaluation
from dnw.augmentation.training_images import TrainingImages
from dnw.config import ConfigError, Data, Train
from dnw.preemption import leave_signals_to_parent
from dnw.training.distributed import World
from dnw.training.loader import Loader
from shards.decode import NoImageError, Picture
from shards.errors import BadSampleError
from shards.index import Index
from shards.order import Order, part
from shards.reader import Reader
from shards.remote import Ahead
from shards.rng import uniforms

REPLACEMENT_KEY = 0x696E73  # keeps these numbers apart from those of the order
REPLACEMENTS_TRIED = 16  # samples in the place of one: if none can be read, nothing can
PREFETCH = 4  # batches that each worker is ahead


class Batch(NamedTuple):
    """A micro-batch. Its images are there until the batch after the next is taken: see BatchBufferPool."""

    images_BCHW: torch.Tensor  # uint8; in memory the colours of a pixel are side by side
    labels_B: torch.Tensor  # int64
    replaced_R: torch.Tensor  # int64, numbers of samples that couldn't be read


class BatchBufferPool:
    """Memory for the images of a batch, taken in turns by the process that decodes.

    New memory costs a page fault every 4 KiB, here and again where the batch is read. A worker is at most
    PREFETCH batches ahead of the one that was taken last, so the memory of that one and the one before it is
    left alone.
    """

    def __init__(self) -> None:
        self._rows: deque[torch.Tensor] = deque(maxlen=PREFETCH + 2)

    def take(self, count: int, side: int) -> torch.Tensor:
        """Room for `count` images, uint8 [count, side, side, 3]; shared with the parent of a worker."""
        bytes_ = count * side * side * 3
        if get_worker_info() is None:
            row = torch.empty(bytes_, dtype=torch.uint8)
        elif len(self._rows) < PREFETCH + 2 or len(self._rows[0]) < bytes_:
            storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(bytes_)  # as in its collation
            row = torch.empty(0, dtype=torch.uint8).set_(storage)
            self._rows.append(row)
        else:
            row = self._rows[0]
            self._rows.rotate(-1)
        return row[:bytes_].view(count, side, side, 3)


class ImageDataset(Dataset[Batch]):
    """Images by number: in the training order, augmented, or in the split's own order, as they are."""

    def __init__(
        self,
        index: Index,
        data: Data,
        order: Order | None,
        room: BatchBufferPool | None = None,
        augmented: TrainingImages | None = None,
    ) -> None:
        """`order` is the training order, and `augmented` what is done to images in it; None for evaluation.

        `room` may be shared with other images.
        """
        self._reader = Reader(index)
        self._data = data
        self._order = order
        self._buffers = room or BatchBufferPool()
        self._augmented = augmented
        self._ahead: Ahead | None = None  # of the process that reads

    def __getitem__(self, span: tuple[int, int]) -> Batch:
        """Return the images at positions [start, stop) as one micro-batch."""
        start, stop = span
        self._fetch_ahead(start)
        samples = np.arange(start, stop) if self._order is None else self._order.samples(start, stop)
        side = self._data.test_size if self._augmented is None else self._augmented.side(start)
        images_BHWC = self._buffers.take(len(samples), side)
        pixels_BHWC = images_BHWC.numpy()
        labels, replaced = [], list[int]()
        for row, (position, sample) in enumerate(zip(range(start, stop), samples.tolist(), strict=True)):
            pixels_BHWC[row], label = self._shown(position, sample, side, replaced)
            labels.append(label)
        return Batch(
            images_BHWC.permute(0, 3, 1, 2),
            torch.tensor(labels, dtype=torch.int64),
            torch.tensor(replaced, dtype=torch.int64),
        )

    def _fetch_ahead(self, position: int) -> None:
        """Have the shards of this window and the next one fetched, where they lie elsewhere."""
        store = self._reader.index.store
        if store is None or self._order is None:
            return
        if self._ahead is None:
            self._ahead = Ahead(store, self._reader.index.shards)
        self._ahead.want(self._order.shards_ahead(position))

    def _shown(self, position: int, sample: int, side: int, replaced: list[int]) -> tuple[np.ndarray, int]:
        """(pixels_HWC, class) of a sample, or of the one that takes its place; adds to `replaced`."""
        faults = []
        for number in (sample, *self._instead(position)):
            try:
                data, label = self._reader.read(number)
                return self._pixels(position, number, side, Picture(data)), label
            except BadSampleError as error:
                faults.append(error)
            except NoImageError as error:
                what = f"{self._reader.where(number)}: {error}: {self._reader.remedy(number)}"
                faults.append(BadSampleError(what))
            replaced.append(number)
        raise faults[0]

    def _instead(self, position: int) -> Iterator[int]:
        """Yield what takes the place of a sample that can't be read; nothing in evaluation."""
        if self._order is not None:
            total = self._order.num_samples
            epoch, place = divmod(position, total)
            drawn = uniforms(self._order.seed, REPLACEMENT_KEY, epoch, place, n=REPLACEMENTS_TRIED)
            yield from (drawn * total).astype(int).tolist()

    def _pixels(self, position: int, sample: int, side: int, picture: Picture) -> np.ndarray:
        size = self._data.image_size
        if self._data.augment in OF_ONE_SIZE and (picture.width, picture.height) != (size, size):
            raise ConfigError(
                f"{self._reader.where(sample)}: an image of {picture.width}x{picture.height} pixels where "
                f"data.image_size={size}; write the shards at that size, or use "
                "data.augment=resized_crop_flip, which takes any"
            )
        if self._order is None or self._augmented is None:
            return for_evaluation(picture, self._data)
        epoch, place = divmod(position, self._order.num_samples)
        return self._augmented(picture, side, (self._order.seed, epoch, place))


class MicroBatches(Sampler[tuple[int, int]]):
    """The spans of positions that one rank loads, from one step to the last."""

    def __init__(self, train: Train, rank: int, world: int, first_step: int, steps: int) -> None:
        self._train = train
        self._share = part(train.batch // train.micro_batch, rank, world)
        self.steps = range(first_step, steps)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every micro-batch of this rank, in order."""
        for step in self.steps:
            yield from self.of_step(step)

    def of_step(self, step: int) -> Iterator[tuple[int, int]]:
        """Yield the micro-batches of one step."""
        size = self._train.micro_batch
        for number in range(*self._share):
            start = step * self._train.batch + number * size
            yield start, start + size

    def __len__(self) -> int:
        first, last = self._share
        return len(self.steps) * (last - first)


class EvaluationBatches(Sampler[tuple[int, int]]):
    """The batches of the validation split that one rank takes: a contiguous share of them.

    Where a batch begins and ends doesn't depend on the ranks: what a network makes of an image may depend, if
    only by rounding, on the batch around it. Every rank gets the same number of spans, so that all of them
    can meet between two; the last one may be empty.
    """

    def __init__(self, samples: int, batch: int, rank: int, world: int) -> None:
        batches = math.ceil(samples / batch)
        self._share = part(batches, rank, world)
        self._count = math.ceil(batches / world)
        self._samples = samples
        self._batch = batch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the spans, in order."""
        first, last = self._share
        for number in range(first, first + self._count):
            start, stop = number * self._batch, min((number + 1) * self._batch, self._samples)
            yield start, stop if number < last else start

    def __len__(self) -> int:
        return self._count


class BothSplits(Dataset[Batch]):
    """Images of the training split and of the validation split, read by the same processes."""

    def __init__(self, train: Train, train_split: Index, val_split: Index) -> None:
        room = BatchBufferPool()
        order = _order(train, train_split)
        self._training = ImageDataset(train_split, train.data, order, room, _augmented(train, train_split))
        self._validation = ImageDataset(val_split, train.data, None, room)

    def __getitem__(self, place: tuple[bool, tuple[int, int]]) -> Batch:
        """Return the images of one span, of the validation split if the first word says so."""
        of_validation, span = place
        return (self._validation if of_validation else self._training)[span]


class TrainingAndEvaluations(Sampler[tuple[bool, tuple[int, int]]]):
    """Everything that one rank loads in an attempt, in the order in which it takes it.

    It is known beforehand which steps an evaluation follows. So one set of processes loads for both: the
    first batches of an evaluation while the last steps before it are computed, and those of the next step
    while the evaluation is. Processes of their own would be forked anew each time, or lie idle in between
    with their memory.
    """

    def __init__(
        self, training: MicroBatches, evaluation: EvaluationBatches, is_evaluated: Callable[[int], bool]
    ) -> None:
        """`is_evaluated`: whether an evaluation follows so many steps; asked of where we begin, too."""
        self._training, self._evaluation, self._is_evaluated = training, evaluation, is_evaluated

    def __iter__(self) -> Iterator[tuple[bool, tuple[int, int]]]:
        """Spans, each with whether it is of the validation split."""
        yield from self._after(self._training.steps.start)
        for step in self._training.steps:
            for span in self._training.of_step(step):
                yield False, span
            yield from self._after(step + 1)

    def _after(self, step: int) -> Iterator[tuple[bool, tuple[int, int]]]:
        if self._is_evaluated(step):
            for span in self._evaluation:
                yield True, span


def training_batches(
    train: Train, index: Index, rank: int, world: int, first_step: int, steps: int
) -> DataLoader[Batch]:
    """Return the micro-batches of one rank.

    Args:
        train: sizes, augmentation, seed, loader processes.
        index: the training split.
        rank: of `world`, whose micro-batches these are.
        world: processes that share a step.
        first_step: the first step that is loaded for.
        steps: where to end; no step with this number or above is loaded for.
    """
    sampler = MicroBatches(train, rank, world, first_step, steps)
    images = ImageDataset(index, train.data, _order(train, index), augmented=_augmented(train, index))
    return _loader(images, sampler, train.data.workers)


def evaluation_batches(train: Train, index: Index, rank: int, world: int) -> DataLoader[Batch]:
    """Return the batches of one rank's part of the validation split.

    Args:
        train: `eval_batch`, image size, loader processes.
        index: the validation split.
        rank: of `world`, whose part it is.
        world: processes that share the split.
    """
    sampler = EvaluationBatches(index.num_samples, train.eval_batch, rank, world)
    return _loader(ImageDataset(index, train.data, None), sampler, train.data.workers)


def batches_of_attempt(
    train: Train, splits: tuple[Index, Index], world: World, steps: range, is_evaluated: Callable[[int], bool]
) -> DataLoader[Batch]:
    """Return all that one rank loads in an attempt: micro-batches, and evaluation batches in between.

    Args:
        train: sizes, augmentation, seed, loader processes.
        splits: the training and the validation split.
        world: this process among those that share a step.
        steps: the steps of the attempt.
        is_evaluated: whether an evaluation follows after so many steps.
    """
    training = MicroBatches(train, world.rank, world.size, steps.start, steps.stop)
    evaluation = EvaluationBatches(splits[1].num_samples, train.eval_batch, world.rank, world.size)
    sampler = TrainingAndEvaluations(training, evaluation, is_evaluated)
    return _loader(BothSplits(train, *splits), sampler, train.data.workers)


def evaluation_count(train: Train, index: Index, world: World) -> int:
    """Return how many batches every rank takes in an evaluation of the split `index`.

    Args:
        train: says how many images a batch has.
        index: of the split.
        world: whose ranks share it.
    """
    return len(EvaluationBatches(index.num_samples, train.eval_batch, world.rank, world.size))


def _order(train: Train, index: Index) -> Order:
    return Order(index.shard_lengths, train.seed, train.data.window)


def _augmented(train: Train, index: Index) -> TrainingImages:
    return TrainingImages(train, index.num_samples)


def _loader(images: Dataset[Batch], spans: Sampler[Any], workers: int) -> DataLoader[Batch]:
    return Loader(
        images,
        batch_size=None,
        sampler=spans,
        num_workers=workers,
        worker_init_fn=leave_signals_to_parent,
        pin_memory=torch.cuda.is_initialized(),  # a process on the CPU has nothing to do with a GPU beside it
        prefetch_factor=PREFETCH if workers else None,
    )


def digest(batch: Batch) -> int:
    """Return 63 bits that tell this micro-batch from any other: pixels, labels and their order."""
    content = batch.images_BCHW.cpu().numpy().tobytes() + batch.labels_B.cpu().numpy().tobytes()
    text = hashlib.sha256(content).digest()
    return int.from_bytes(text[:8], "big") >> 1
