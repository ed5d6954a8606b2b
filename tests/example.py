"""A small configuration that tests change one thing of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnw.config import Train, parse

if TYPE_CHECKING:
    from shards.index import Index


def values(**changes: Any) -> dict[str, Any]:
    """Plain values of a configuration; dotted names with `__` for dots change single ones."""
    config: dict[str, Any] = {
        "exp": "example",
        "width": 0.05,
        "batch": 32,
        "micro_batch": 8,
        "steps": 10,
        "model": {"name": "static"},
        "wiring": {"name": "dnw"},
        "data": {
            "name": "fashion_mnist",
            "dir": "data/fashion_mnist",
            "image_size": 32,
            "classes": 10,
            "augment": "crop_flip",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "workers": 0,
        },
        "optim": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "schedule": "cosine"},
        "augment": {},
        "checkpoint": {"every_steps": 4},
        "log": {"every_steps": 2},
    }
    for name, value in changes.items():
        *groups, key = name.split("__")
        inner = config
        for group in groups:
            inner = inner[group]
        inner[key] = value
    return config


def train(**changes: Any) -> Train:
    """The same, parsed."""
    return parse(values(**changes))


def counted(split: Index) -> int:
    """How many images an evaluation of a split counts, through all that loads them in this process.

    Raises:
        BadSampleError: one of them can't be read.
    """
    import torch

    from dnw.training.data import evaluation_batches
    from dnw.training.distributed import ALONE
    from dnw.training.evaluation import Normalize, evaluate

    setting = train(data__workers=0, data__image_size=8, data__augment="resized_crop_flip")
    found = evaluate(
        lambda images_BCHW: torch.zeros(len(images_BCHW), split.num_classes),
        evaluation_batches(setting, split, 0, 1),
        Normalize(setting.data.mean, setting.data.std, torch.device("cpu")),
        ALONE,
    )
    return found.samples
