"""Trained networks for use: `dnw.load`. Importing this brings nothing heavy; the login node does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import shards  # noqa: F401  (checks the environment of `python -m dnw.*`)

if TYPE_CHECKING:
    from dnw.exported.network import Network

__version__ = "0.1.0"


def load(
    path: Path | str,
    engine: str = "native",
    threads: int | None = None,
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Network:
    """Load a network from a file that python -m dnw.export wrote; it maps images to logits.

    Args:
        path: the file.
        engine: one of dnw.engines.NAMES, other than dense. native on a CPU needs numpy, numba and safetensors
            alone, and Pillow for image files; all others need torch.
        threads: how many cores compute; None: all that this process may use, or as many as torch uses with
            its engines.
        device: where images are and logits will be: cpu, cuda, cuda:1 ...
        precision: fp32, or bf16 (docs/inference.md), with native on a CPU, compact and auto.

    Returns:
        the network, as in
        network = dnw.load("static.safetensors")
        logits_BK = network(images_BCHW)    # uint8, or float32 normalized as network.card says
        guesses = network.classify("photo.jpg")    # names and probabilities

    Raises:
        dnw.exported.model_file.ModelFileError: no such file, damaged, or of another program or version.
        ValueError, ImportError: no such engine, not on that device, in that precision, or not installed.
    """
    from dnw.exported import network  # noqa: PLC0415  (brings numba)

    return network.load(Path(path), engine, threads, device, precision)
