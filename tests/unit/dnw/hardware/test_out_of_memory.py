"""What is said where memory was too small; in real processes: tests/integration/test_devices.py."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from example import train
from fake_cuda.memory_errors import CUDNN_MEMORY, NCCL_MEMORY

from dnw.hardware.out_of_memory import lacking, what_would_fit
from dnw.training import evaluation, faults
from dnw.training.data import Batch
from dnw.training.distributed import ALONE
from dnw.training.evaluation import Normalize

TRAIN = train(batch=48, micro_batch=12)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "device"),
        (torch.AcceleratorError("CUDA error: out of memory"), "device"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "device"),
        (RuntimeError(CUDNN_MEMORY), "device"),
        (dist.DistBackendError(NCCL_MEMORY), "device"),
        (dist.DistBackendError(NCCL_MEMORY.replace("2 'out of memory'", "'out of memory'")), "device"),
        (dist.DistBackendError(NCCL_MEMORY.replace("2 'out of memory'", "999 'unknown error'")), None),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), None),
        (ValueError("CUDA error: out of memory"), None),
    ],
)
def test_which_memory(error: Exception, memory: str | None) -> None:
    assert lacking(error) == memory


def test_what_would_fit_says_bytes_and_settings() -> None:
    assert what_would_fit(torch.OutOfMemoryError(faults.MEMORY), TRAIN) == (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which "
        "1.56 GiB is free; try micro_batch=6 (now 12) or precision=bf16, or GPUs with more memory "
        "(cluster.constraint)"
    )
    told = what_would_fit(dist.DistBackendError(NCCL_MEMORY), TRAIN)
    assert told.startswith("Cuda failure 2 'out of memory'; try micro_batch=6 (now 12) or precision=bf16")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"micro_batch": 3}, "memory; try micro_batch=1 (now 3) or precision=bf16, or"),
        ({"micro_batch": 1}, "memory; try precision=bf16, or"),
        ({"micro_batch": 8, "precision": "bf16"}, "memory; try micro_batch=4 (now 8), or"),
        ({"micro_batch": 1, "precision": "bf16"}, "memory; a smaller network fits (micro_batch is 1), or"),
    ],
)
def test_what_would_fit_names_a_micro_batch_that_divides(changes: dict[str, Any], said: str) -> None:
    error = torch.AcceleratorError("CUDA error: out of memory\nCompile with")
    found = what_would_fit(error, dataclasses.replace(TRAIN, **changes))
    assert said in found


def test_an_evaluation_needs_a_smaller_batch_of_its_own() -> None:
    def fail() -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    batch = Batch(torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64), torch.zeros(0))
    normalize = Normalize((0.5,) * 3, (0.5,) * 3, ALONE.device)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        evaluation.evaluate(torch.nn.Identity(), [batch], normalize, ALONE, should_stop=fail)
    assert "; try eval_batch=128 (now 256) or precision=bf16" in what_would_fit(raised.value, TRAIN)


@pytest.mark.parametrize(
    ("allocate", "memory", "said"),
    [
        (
            lambda: torch.empty(2**50),
            "process",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4503599627370496 bytes. Error "
            "code 12 (Cannot allocate memory); try micro_batch=6 (now 12) or precision=bf16, or more memory "
            "(cluster.mem)",
        ),
        (
            lambda: torch.UntypedStorage._new_shared(2**45),
            "shared",
            "No space left on device (28); try data.workers=2 (now 4) or data.workers=0, or free /dev/shm on "
            "the node",
        ),
    ],
    ids=["process", "shared"],
)
def test_memory_that_is_really_too_small(allocate: Callable[[], object], memory: str, said: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        allocate()
    assert lacking(raised.value) == memory
    data = dataclasses.replace(TRAIN.data, workers=4)
    assert what_would_fit(raised.value, dataclasses.replace(TRAIN, data=data)).endswith(said)
