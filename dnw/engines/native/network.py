"""The native engine: compiled for this machine's CPU when it is first used, without a compiler installed."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dnw.compact import Compact
from dnw.engines.native.kernel import INSTRUCTIONS, run
from dnw.engines.native.plan import plan as plan_for


class KernelImages(NamedTuple):
    """Images as the compiled function takes them: in either memory format it is the same function."""

    pixels: NDArray[np.float32]  # flat
    side: int
    next: int  # floats from a pixel to the same one of the next image,
    channel: int  # of the next channel,
    down: int  # to the one below,
    right: int  # to the one right of it

    @classmethod
    def of(cls, images_BCHW: Tensor) -> KernelImages:
        """Return a view of them, or a copy if they lie scattered."""
        if images_BCHW.is_contiguous(memory_format=torch.channels_last):
            pixels = images_BCHW.permute(0, 2, 3, 1)
        else:
            pixels = images_BCHW = images_BCHW.contiguous()
        return cls(pixels.reshape(-1).numpy(), images_BCHW.shape[-1], *images_BCHW.stride())


log = logging.getLogger(__name__)


class Native:
    """A network in compact form, for images of one size, on `threads` cores.

    A batch is divided into one image at a time for each thread; what is left over is computed by all threads
    together, each taking some of the nodes. Calls from several threads take turns.
    """

    def __init__(self, compact: Compact, threads: int) -> None:
        assert compact.stem is not None
        self.image_size = compact.image_size
        self._head = compact.head
        self._plan = plan_for(compact, threads)
        self._alone = self._plan.alone()
        self._memories = [self._plan.memory() for _ in range(threads)]
        self._shared = self._plan.memory() if threads > 1 else self._memories[0]
        self._pool = ThreadPoolExecutor(threads - 1, "native") if threads > 1 else None
        self._turn = threading.Lock()
        self._compile()

    def _compile(self) -> None:
        """By a first image. What is compiled is kept on disk, so that this is slow once on a machine."""
        began_s, misses = time.monotonic(), len(run.stats.cache_misses)
        self(torch.zeros(1, 3, self.image_size, self.image_size))
        if len(run.stats.cache_misses) > misses:
            took_s = time.monotonic() - began_s
            log.info(
                "native engine: compiled for this CPU in %.0f s, kept in %s", took_s, run.stats.cache_path
            )

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Map normalized float32 images [B, 3, image_size, image_size] to logits [B, classes]."""
        features_NB = np.empty((self._head.weight.shape[1], len(images_BCHW)), np.float32)
        with self._turn:
            self._divide(KernelImages.of(images_BCHW.detach()), features_NB)
        return F.linear(torch.from_numpy(features_NB).t(), self._head.weight, self._head.bias)

    def _divide(self, images: KernelImages, features_NB: NDArray[np.float32]) -> None:
        """Each thread takes whole images by itself, then all take what is left over, image by image."""
        plan, threads, batch = self._plan, len(self._memories), features_NB.shape[1]
        whole = batch // threads * threads
        parts = plan.planes, plan.phases, plan.steps, plan.targets, plan.edges
        counter = np.zeros(1, np.int64)

        def work(rank: int) -> None:
            own, shared = (rank, whole, threads), (whole, batch, 1)
            own_memory = self._memories[rank]
            version = run(images, own, features_NB, own_memory, *parts, self._alone, 0, counter)
            assert version == INSTRUCTIONS
            if threads > 1:
                run(images, shared, features_NB, self._shared, *parts, plan.shares, rank, counter)

        others = [self._pool.submit(work, rank) for rank in range(1, threads)] if self._pool else []
        work(0)
        for other in others:
            other.result()
