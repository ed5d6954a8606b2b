"""What an exception of a GPU counts as; in real processes: tests/integration/test_devices.py."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.distributed as dist
from example import train

from dnw.hardware.gpu_fault import fault_of, is_out_of_memory, what_would_fit
from dnw.training import evaluation, faults
from dnw.training.data import Batch
from dnw.training.distributed import ALONE
from dnw.training.evaluation import Normalize

TRAIN = train(batch=48, micro_batch=12)
# as NCCL and cuDNN say it where torch's tensors have taken all the memory
NCCL_MEMORY = (
    "NCCL error in: x.cpp:94, unhandled cuda error (run with NCCL_DEBUG=INFO for details)\n"
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'"
)
CUDNN_MEMORY = "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), "device"),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), "device"),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "device"),
        (torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "device"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), "device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), "device"),
        (dist.DistBackendError("NCCL error in: x.cpp:94, ncclUnhandledCudaError: Call to CUDA"), "device"),
        (dist.DistBackendError("NCCL error in: x.cpp:94, ncclRemoteError: A call failed possibly"), "peer"),
        (dist.DistNetworkError("The client socket has timed out"), "peer"),
        (
            RuntimeError("[/x/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:6024."),
            "peer",
        ),
        (
            RuntimeError("[/x/gloo/transport/tcp/pair.cc:534] Read error [::1]: Connection reset by peer"),
            "peer",
        ),
        (RuntimeError("[/x/gloo/transport/tcp/pair.cc:416] writev [::1]:7261: Broken pipe"), "peer"),
        (
            RuntimeError("[/x/gloo/transport/tcp/unbound_buffer.cc:88] Timed out waiting 1000ms for recv"),
            None,
        ),
        (OSError("Connection reset by peer"), None),
        (dist.DistBackendError("ncclInvalidUsage: Duplicate GPU detected"), None),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), None),
        (torch.AcceleratorError("CUDA error: no kernel image is available for execution"), None),
        (torch.AcceleratorError("CUDA error: out of memory"), None),
        (torch.OutOfMemoryError(faults.MEMORY), None),
        (dist.DistBackendError(NCCL_MEMORY), None),
        (RuntimeError(CUDNN_MEMORY), None),
        (RuntimeError("shape '[2, 3]' is invalid for input of size 5"), None),
        (ValueError("CUDNN_STATUS_INTERNAL_ERROR"), None),
    ],
)
def test_whose_fault(error: Exception, fault: str | None) -> None:
    assert fault_of(error) == fault


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError(CUDNN_MEMORY), True),
        (dist.DistBackendError(NCCL_MEMORY), True),
        (dist.DistBackendError(NCCL_MEMORY.replace("2 'out of memory'", "'out of memory'")), True),
        (dist.DistBackendError(NCCL_MEMORY.replace("2 'out of memory'", "999 'unknown error'")), False),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_out_of_memory(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) == is_it


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
