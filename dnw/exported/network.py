"""A network from a file of dnw.export, ready for images; without torch, unless another engine is asked for.

Shapes: images_BCHW, [B, 3, image_size, image_size]; logits_BK.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, overload

import numpy as np
from numpy.typing import NDArray

from dnw.compact.form import Arrays, Compact
from dnw.engines.names import NAMES
from dnw.engines.native.network import Native, Precision
from dnw.exported import model_file, photograph
from dnw.exported.model_file import Card
from shards.errors import did_you_mean
from shards.machine.cores import usable_cores

if TYPE_CHECKING:
    from torch import Tensor

    from dnw.engines import Engine

Floats = NDArray[np.float32]


class Guess(NamedTuple):
    """A class that an image may show."""

    name: str  # its number, where the file has no names
    probability: float


class Network:
    """Computes logits, and has the card that says what it takes and gives."""

    def __init__(self, card: Card, native: Callable[[Floats], Floats] | None, engine: Engine | None) -> None:
        """Compute with one of these: a function of normalized arrays, or an engine of torch."""
        self.card = card
        self._native = native
        self._engine = engine
        self._scale = (1 / (255 * np.array(card.std, np.float32))).reshape(3, 1, 1)
        self._shift = -np.array(card.mean, np.float32).reshape(3, 1, 1) * 255 * self._scale

    @overload
    def __call__(self, images_BCHW: NDArray[Any]) -> Floats: ...
    @overload
    def __call__(self, images_BCHW: Tensor) -> Tensor: ...
    def __call__(self, images_BCHW: NDArray[Any] | Tensor) -> Floats | Tensor:
        """Map images to logits [B, classes], float32.

        Args:
            images_BCHW: uint8 with colours from 0 to 255, or float32 and normalized by the card's mean and
                std; an array of numpy, or a tensor of torch, and so are the logits.

        Raises:
            ValueError: images of another size or type.
        """
        self._check(images_BCHW)
        if not isinstance(images_BCHW, np.ndarray):
            return self._of_tensors(images_BCHW)
        if images_BCHW.dtype == np.uint8:
            images_BCHW = (images_BCHW * self._scale + self._shift).astype(np.float32, copy=False)
        if self._native is not None:
            return self._native(images_BCHW)
        import torch  # noqa: PLC0415  (engines of torch alone need it)

        assert self._engine is not None
        on_device = torch.tensor(images_BCHW, device=self._engine.device)
        logits_BK: Floats = self._engine(on_device).cpu().numpy()
        return logits_BK

    def classify(self, file: Path | str, most: int = 5) -> list[Guess]:
        """Return what an image file shows: the `most` likely classes, the likeliest first.

        It is read and cut as in the evaluation of the training (dnw.exported.photograph).
        Raises dnw.exported.photograph.PhotographError if it can't be read or is no image.
        """
        logits_K = self(photograph.read(Path(file), self.card)[None])[0].astype(np.float64)
        likely_K = np.exp(logits_K - logits_K.max())
        likely_K /= likely_K.sum()
        names = self.card.class_names
        best = np.argsort(-likely_K, kind="stable")[:most].tolist()
        return [Guess(names[k] if names else str(k), float(likely_K[k])) for k in best]

    def _of_tensors(self, images_BCHW: Tensor) -> Tensor:
        import torch  # noqa: PLC0415  (whose tensor it is has it)

        if images_BCHW.dtype == torch.uint8:
            device = images_BCHW.device
            scale, shift = (torch.from_numpy(part).to(device) for part in (self._scale, self._shift))
            images_BCHW = images_BCHW * scale + shift
        if self._engine is not None:
            return self._engine(images_BCHW)
        assert self._native is not None
        if images_BCHW.device.type != "cpu":
            raise ValueError(f"this network was loaded for the CPU, images are on {images_BCHW.device}")
        return torch.from_numpy(self._native(images_BCHW.detach().numpy()))

    def _check(self, images_BCHW: NDArray[Any] | Tensor) -> None:
        size, short = self.card.image_size, self.card.resize
        if tuple(images_BCHW.shape[1:]) != (3, size, size) or not len(images_BCHW):
            first = "" if short is None else f"scale the shorter side to {short} pixels, bilinear, then "
            raise ValueError(
                f"images must be [B, 3, {size}, {size}], got {list(images_BCHW.shape)}: "
                f"{first}cut {size}x{size} pixels out of the centre, or give the file to classify"
            )
        if str(images_BCHW.dtype).removeprefix("torch.") not in ("uint8", "float32"):
            raise ValueError(f"images must be uint8, or normalized and float32; got {images_BCHW.dtype}")


def load(path: Path, engine: str, threads: int | None, device: str, precision: Precision) -> Network:
    """See dnw.load."""
    if engine not in NAMES:
        raise ValueError(f"no engine {engine!r}{did_you_mean(engine, NAMES)}; there are {', '.join(NAMES)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: must be at least 1, or None for all cores (got {threads})")
    if precision not in get_args(Precision):
        raise ValueError(f"precision: must be one of {', '.join(get_args(Precision))} (got {precision!r})")
    network, card = model_file.read(path)
    if engine == "native" and device == "cpu":
        return Network(card, _native(network, threads or usable_cores(), precision), None)
    from dnw.engines.building import build  # noqa: PLC0415  (brings torch)

    of_torch = build(engine, network.tensors(), card.image_size, threads, precision, device)
    return Network(card, None, of_torch)


def _native(network: Compact[Arrays], threads: int, precision: Precision) -> Callable[[Floats], Floats]:
    if network.stem is None:
        return lambda images_BCHW: np.tile(network.head.bias, (len(images_BCHW), 1))
    return Native(network, threads, precision)
