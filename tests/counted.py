"""How many images an evaluation counts, through all that loads them; of a network that answers nothing."""

from __future__ import annotations

import torch
from example import train

from dnw.training.data import evaluation_batches
from dnw.training.distributed import ALONE
from dnw.training.evaluation import Normalize, evaluate
from shards.index import Index


def counted(split: Index) -> int:
    """Evaluate a split in this process and return the number of its images.

    Raises:
        BadSampleError: one of them can't be read.
    """
    setting = train(data__workers=0, data__image_size=8, data__augment="resized_crop_flip")
    found = evaluate(
        lambda images_BCHW: torch.zeros(len(images_BCHW), split.num_classes),
        evaluation_batches(setting, split, 0, 1),
        Normalize(setting.data.mean, setting.data.std, torch.device("cpu")),
        ALONE,
    )
    return found.samples
