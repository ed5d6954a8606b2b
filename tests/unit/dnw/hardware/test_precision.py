"""What products and convolutions compute in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from example import train
from torch import Tensor

from dnw import models
from dnw.compose import training
from dnw.config import Precision
from dnw.hardware import precision
from dnw.identity import signature
from dnw.import_reference import configuration
from dnw.training.data import Batch
from dnw.training.distributed import ALONE
from dnw.training.trainer import Trainer


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    precision.configure("fp32")


def modes() -> list[str]:
    cudnn = torch.backends.cudnn
    return [torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "mode"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_fp32_is_what_it_says(name: Precision, mode: str) -> None:
    """torch's own default has TF32 for convolutions."""
    precision.configure("tf32" if mode == "ieee" else "fp32")
    precision.configure(name)
    assert modes() == [mode] * 3
    assert torch.backends.cudnn.allow_tf32 == (mode == "tf32")  # answers, and says the same
    with torch.backends.cudnn.flags(enabled=False):  # as networks of a user's own may
        pass
    assert torch.backends.cudnn.allow_tf32 == (mode == "tf32")
    for processor in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv):  # type: ignore[attr-defined]
        assert processor.fp32_precision == "none"  # a CPU is left alone


def weights_after(name: Precision) -> dict[str, Tensor]:
    settings = train(precision=name, batch=8, micro_batch=8)
    precision.configure(name)
    trainer = Trainer(settings, models.build(settings), ALONE, 100)
    trainer.begin()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.manual_seed(0))
    batch = Batch(images, torch.arange(8), torch.empty(0, dtype=torch.int64))
    for _ in range(2):
        trainer.step(iter([batch]))
    return trainer.model.state_dict()


def test_tf32_changes_nothing_on_a_cpu() -> None:
    fp32, tf32, bf16 = (weights_after(name) for name in ("fp32", "tf32", "bf16"))
    assert all(torch.equal(fp32[name], tf32[name]) for name in fp32)
    assert not all(torch.equal(fp32[name], bf16[name]) for name in fp32)


def test_it_belongs_to_what_a_run_is() -> None:
    found = [signature(train(precision=name)) for name in ("fp32", "tf32", "bf16")]
    assert len(set(found)) == 3
    assert found[0] == "3f6fa8f9e0"  # of runs from before there was tf32


def test_recipes() -> None:
    for name, expected in {"static_dnw": "fp32", "cifar_dnw": "fp32", "imagenet_dnw": "bf16"}.items():
        assert training([f"+exp={name}"]).precision == expected
    assert training(["+exp=resnet50_sparse"]).precision == "bf16"
    assert training(["+exp=resnet50_sparse", "precision=fp32"]).precision == "fp32"


def test_the_papers_checkpoints_compute_as_they_were_trained() -> None:
    assert configuration(["+exp=imagenet_dnw"], {}).precision == "fp32"
    assert configuration(["+exp=imagenet_dnw", "precision=bf16"], {}).precision == "bf16"


def test_warns_of_a_gpu_without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 0))
    with pytest.warns(
        UserWarning, match=r"^precision=bf16: Tesla V100 has no instructions .* fp32 is faster$"
    ):
        precision.warn_of_device("bf16", gpu)
    with pytest.warns(UserWarning, match=r"^precision=tf32: Tesla V100 .* fp32 is as fast, and exact$"):
        precision.warn_of_device("tf32", gpu)
    precision.warn_of_device("fp32", gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    precision.warn_of_device("bf16", gpu)
    precision.warn_of_device("tf32", torch.device("cpu"))
