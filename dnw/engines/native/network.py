"""The native engine: compiled for this machine's CPU when it is first used, without a compiler installed.

It needs numpy and numba alone.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnw.compact.form import Arrays, Compact
from dnw.engines.native.classifier import classify
from dnw.engines.native.kept_on_disk import where
from dnw.engines.native.kernel import INSTRUCTIONS, run
from dnw.engines.native.memory import in_huge_pages
from dnw.engines.native.plan import plan as plan_for

Floats = NDArray[np.float32]
Precision = Literal["fp32", "bf16"]


class KernelImages(NamedTuple):
    """Images as the compiled function takes them: in either memory format it is the same function."""

    pixels: Floats  # flat
    side: int
    next: int  # floats from a pixel to the same one of the next image,
    channel: int  # of the next channel,
    down: int  # to the one below,
    right: int  # to the one right of it

    @classmethod
    def of(cls, images_BCHW: Floats) -> KernelImages:
        """Return a view of them, or a copy if they lie scattered or can't be written to.

        numba would compile the function anew for what can't be written to.
        """
        if not images_BCHW.flags.writeable:
            images_BCHW = images_BCHW.copy()
        _, colours, height, width = images_BCHW.shape
        pixels = images_BCHW.transpose(0, 2, 3, 1)
        if pixels.flags.c_contiguous:
            steps = (height * width * colours, 1, width * colours, colours)
        else:
            pixels = np.ascontiguousarray(images_BCHW)
            steps = (colours * height * width, height * width, width, 1)
        return cls(pixels.reshape(-1), width, *steps)


log = logging.getLogger(__name__)


class Native:
    """A network in compact form, for images of one size, on `threads` cores.

    A batch is divided into one image at a time for each thread; what is left over is computed by all threads
    together, each taking some of the nodes and of the classes. Calls from several threads take turns.
    """

    def __init__(self, compact: Compact[Arrays], threads: int, precision: Precision = "fp32") -> None:
        assert compact.stem is not None
        self.image_size = compact.image_size
        self._weight_KN = in_huge_pages(compact.head.weight)
        self._bias_K = np.array(compact.head.bias)
        self._plan = plan_for(compact, threads, is_paired=precision == "bf16")
        self._memories = [self._plan.memory() for _ in range(threads)]
        self._shared = self._plan.memory() if threads > 1 else self._memories[0]
        self._pool = ThreadPoolExecutor(threads - 1, "native") if threads > 1 else None
        self._turn = threading.Lock()
        self._compile()

    def _compile(self) -> None:
        """By a first image. What is compiled is kept on disk, so that this is slow once on a machine."""
        began_s, misses = time.monotonic(), len(run.stats.cache_misses)
        self(np.zeros((1, 3, self.image_size, self.image_size), np.float32))
        if len(run.stats.cache_misses) > misses:
            took_s = time.monotonic() - began_s
            log.info("native engine: compiled for this CPU in %.0f s, %s", took_s, where(run))

    def __call__(self, images_BCHW: Floats) -> Floats:
        """Map normalized float32 images [B, 3, image_size, image_size] to logits [B, classes]."""
        features_BN = np.empty((len(images_BCHW), self._weight_KN.shape[1]), np.float32)
        logits_BK = np.empty((len(images_BCHW), len(self._bias_K)), np.float32)
        with self._turn:
            self._divide(KernelImages.of(images_BCHW), features_BN, logits_BK)
        return logits_BK

    def _divide(self, images: KernelImages, features_BN: Floats, logits_BK: Floats) -> None:
        """Each thread takes whole images by itself, then all take what is left over, image by image."""
        plan, threads, batch = self._plan, len(self._memories), len(features_BN)
        whole = batch // threads * threads
        parts = plan.planes, plan.phases, plan.steps, plan.targets, plan.edges
        counter = np.zeros(1, np.int64)

        def compute(turns: tuple[int, int, int], memory: Floats, team: Any, rank: int) -> None:
            version = run(images, turns, features_BN, memory, *parts, team, rank, counter)
            assert version == INSTRUCTIONS
            classes, size = len(self._bias_K), team.shares.shape[1] - 1
            own = classes * rank // size, classes * (rank + 1) // size
            classify(features_BN, turns, self._weight_KN, self._bias_K, own, logits_BK)

        def work(rank: int) -> None:
            compute((rank, whole, threads), self._memories[rank], plan.alone, 0)
            if threads > 1:
                compute((whole, batch, 1), self._shared, plan.team, rank)

        others = [self._pool.submit(work, rank) for rank in range(1, threads)] if self._pool else []
        work(0)
        for other in others:
            other.result()
