"""Weights, inputs and expected values of tests/golden/reference.json, taken from the paper's own code.

Weights and inputs come from a formula in 64-bit integers, so the file holds only shapes and results.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import example
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnw.config import Train

Entry = dict[str, Any]
GOLDEN = Path(__file__).resolve().parent / "golden" / "reference.json"
MODELS = (
    "static_dnw",
    "discrete_dnw",
    "continuous_dnw",
    "mobilenet_dnw_x225_imagenet",
    "mobilenet_dnw_small_x225_imagenet",
    "mobilenet_dnw_x225_cifar",
    "resnet50_allsparse30",
)
MOBILENETS = tuple(name for name in MODELS if name.startswith("mobilenet"))
TOLERANCE = dict.fromkeys(MODELS, 1e-4) | {"continuous_dnw": 1e-3}  # of the largest logit


@cache
def entries() -> dict[str, Entry]:
    return dict(json.loads(GOLDEN.read_text()))


def train_of(entry: Entry) -> Train:
    """The configuration that builds an entry's network, quirks on."""
    name = network_of(entry)
    is_graph = "prune_rate" in entry
    return example.train(
        width=round(1 - entry["prune_rate"], 6) if is_graph else None,
        sparsity=None if is_graph else 0.7,
        model={"name": name, "small": entry.get("small", False)},
        wiring={"name": "dnw", "reference_quirks": True},
        data__image_size=entry["input"][-1],
        data__classes=len(entry["logits"][0]),
    )


def network_of(entry: Entry) -> str:
    """Our name of an entry's network."""
    if entry["kind"] != "small":
        return str(entry["kind"])
    return str(entry["app"].removeprefix("small_scale/").partition("_")[0])


def weights(entry: Entry) -> dict[str, Tensor]:
    """The state dict of an entry, under the paper's own keys."""
    offset = entry.get("salt_offset", 0) + 1
    return {key: _tensor(key, shape, salt) for salt, (key, shape) in enumerate(entry["keys"], offset)}


def images(entry: Entry) -> Tensor:
    """The input of an entry, [B, 3, H, W]."""
    shape = entry["input"]
    return torch.from_numpy(4 * uniform(math.prod(shape), 999)).float().view(shape)


def uniform(n: int, salt: int) -> npt.NDArray[np.float64]:
    """Return n numbers in [-0.5, 0.5)."""
    low = np.uint64(0xFFFFFFFF)
    x = (np.arange(n, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & low
    x ^= x >> np.uint64(15)
    x = x * np.uint64(2246822519) & low
    x ^= x >> np.uint64(13)
    x = x * np.uint64(3266489917) & low
    x ^= x >> np.uint64(16)
    return x / 2**32 - 0.5


def _tensor(key: str, shape: list[int], salt: int) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key == "zeros":
        return torch.zeros(shape)
    x = uniform(math.prod(shape), salt)
    if key.endswith("running_var"):
        x = 1 + x
    elif len(shape) == 4:
        x = x * math.sqrt(24 / (shape[1] * shape[2] * shape[3])) * (3 if "graph" in key else 1)
    elif len(shape) == 2:
        x = x * math.sqrt(12 / shape[1])
    elif key.endswith("weight"):
        x = 1 + x
    return torch.from_numpy(x).float().view(shape)
