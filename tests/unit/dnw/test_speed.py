import time

import pytest
import torch
from torch import Tensor

from dnw import speed


def test_the_median_per_image_without_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "BATCHES", (4,))
    monkeypatch.setattr(speed, "ENOUGH_S", 0.0)
    seen: list[torch.Size] = []

    def run(images_BCHW: Tensor) -> Tensor:
        time.sleep(0.5 if not seen else 0.04)
        seen.append(images_BCHW.shape)
        return torch.zeros(len(images_BCHW), 10)

    found = speed.measure(run, 8, torch.device("cpu"))
    assert seen == [torch.Size((4, 3, 8, 8))] * (1 + speed.LEAST)
    assert 10 <= found.ms_per_image[4] < 100
    assert found.peak_memory_mib > 10
