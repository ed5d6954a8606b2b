"""What torch.cuda says of the fake device, and the mode in which tensors on it are fake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.cuda.nccl
from torch._subclasses.fake_tensor import FakeTensorMode

DEVICE = torch.device("cuda", 0)
NAME = "fake"
CAPABILITY = (9, 0)


class Waited(Exception):
    """The CPU waited for the GPU outright."""


class _FakeMode(FakeTensorMode):
    """As FakeTensorMode, but nothing starts CUDA."""

    avoid_device_init = property(lambda self: True)


@contextlib.contextmanager
def fake_cuda() -> Iterator[None]:
    """Have every tensor made within be a fake one, and torch.cuda answer for the fake device."""
    _answer()
    with _FakeMode(allow_non_fake_inputs=True):
        yield


def _answer() -> None:
    cuda = torch.cuda
    cuda._lazy_init = lambda: None
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: DEVICE.index
    cuda._exchange_device = cuda._maybe_exchange_device = lambda device: DEVICE.index
    cuda.get_device_name = lambda device=None: NAME
    cuda.get_device_capability = lambda device=None: CAPABILITY
    cuda.is_bf16_supported = lambda *args, **kwargs: True
    cuda.is_current_stream_capturing = lambda: False
    cuda.manual_seed = lambda seed: None
    cuda.nccl.version = lambda: (0, 0)
    cuda.synchronize = _refuse


def _refuse(device: object = None) -> None:
    raise Waited("torch.cuda.synchronize")
