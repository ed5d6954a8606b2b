"""What an exception of a GPU counts as; in real processes: tests/integration/test_devices.py."""

import pytest
import torch
import torch.distributed as dist
from fake_cuda.memory_errors import CUDNN_MEMORY, NCCL_MEMORY

from dnw.hardware.gpu_fault import fault_of
from dnw.training import faults


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
