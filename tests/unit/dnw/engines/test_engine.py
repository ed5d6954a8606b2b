import pytest
import torch
from torch import Tensor

from dnw.engines.engine import Engine


def test_logits_are_ordinary_tensors_and_threads_come_back() -> None:
    before, seen = torch.get_num_threads(), []

    def run(images_BCHW: Tensor) -> Tensor:
        seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return images_BCHW.mean((2, 3))

    threads = 2 if before == 1 else 1
    logits = Engine("x", 4, threads, run)(torch.ones(2, 3, 4, 4))
    assert seen == [(threads, True)]
    assert torch.get_num_threads() == before
    assert not logits.is_inference()
    assert logits.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_threads_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    engine = Engine("x", 4, 2 if before == 1 else 1, lambda _: torch.zeros(2).view(3))
    with pytest.raises(RuntimeError, match="shape"):
        engine(torch.ones(2, 3, 4, 4))
    assert torch.get_num_threads() == before
