"""The precision of matrix products and convolutions. Weights, sums and the choice of edges stay in float32.

- fp32: float32 throughout. torch leaves convolutions on a GPU to TF32 by default; this turns that off.
- tf32: products on a GPU take inputs of 10 bits of mantissa, and sum in float32. Nothing else changes: a
  CPU, and a GPU older than compute capability 8.0, compute as with fp32.
- bf16: autocast to bfloat16, 7 bits of mantissa, which halves the bytes of what is between layers, too.
"""

from __future__ import annotations

import warnings

import torch

from dnw.config import Precision

TENSOR_CORES = (8, 0)  # the first compute capability that computes TF32 and bfloat16


def configure(precision: Precision) -> None:
    """Set what torch's float32 products and convolutions on CUDA devices compute in, for this process."""
    mode = "tf32" if precision == "tf32" else "ieee"
    # The older switch isn't moved by the newer ones below; where they differ, whoever asks for it, as
    # torch.backends.cudnn.flags does, gets an exception (github.com/pytorch/pytorch/issues/179445).
    torch.backends.cudnn.allow_tf32 = mode == "tf32"
    torch.backends.cuda.matmul.fp32_precision = mode
    torch.backends.cudnn.conv.fp32_precision = mode  # type: ignore[attr-defined]  # not in its stub
    torch.backends.cudnn.rnn.fp32_precision = mode  # type: ignore[attr-defined]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context that a forward pass computes in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def warn_of_device(precision: Precision, device: torch.device) -> None:
    """Warn if this device has no instructions for the precision."""
    if device.type == "cpu":
        if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            warnings.warn("precision=bf16: this CPU has no bf16 instructions, fp32 is faster", stacklevel=2)
    elif precision != "fp32" and torch.cuda.get_device_capability(device) < TENSOR_CORES:
        name = torch.cuda.get_device_name(device)
        remedy = "as fast, and exact" if precision == "tf32" else "faster"
        warnings.warn(
            f"precision={precision}: {name} has no instructions for it, fp32 is {remedy}", stacklevel=2
        )
