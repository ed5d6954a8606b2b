"""Accuracy over a validation split."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from example import train

from dnw import models
from dnw.training.data import evaluation_batches
from dnw.training.distributed import ALONE
from dnw.training.evaluation import Normalize, evaluate
from shards.index import Index


@pytest.mark.parametrize("batch", [1, 7, 50, 256])
def test_accuracy_is_counted_not_averaged(few_images: Path, batch: int) -> None:
    config = train(eval_batch=batch)
    model = models.build(config).eval()
    normalize = Normalize(config.data.mean, config.data.std, torch.device("cpu"))
    split = Index.load(few_images, "val")
    found = evaluate(model, evaluation_batches(config, split, 0, 1), normalize, ALONE)
    images, labels, _ = next(iter(evaluation_batches(train(), split, 0, 1)))
    with torch.no_grad():
        logits = model(normalize(images))
    assert found.samples == 50
    assert found.top1 == pytest.approx(2 * int((logits.argmax(1) == labels).sum()))
    assert found.top5 == pytest.approx(2 * int((logits.topk(5).indices == labels[:, None]).sum()))
    assert found.loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-4)
