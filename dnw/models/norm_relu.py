"""BatchNorm in training with ReLU behind it: torch's operations on a CPU, one kernel for both on a GPU.

Shapes: x_BCHW feature maps whose channels lie side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dnw.hardware.device import takes_kernels
from dnw.models.graph import maps, pixels

TOGETHER = -1  # beside the numbers that torch has for its norms


class Saved(NamedTuple):
    """What the backward needs, beside the maps."""

    scale: Tensor
    shift: Tensor
    mean: Tensor  # of the batch
    deviation: Tensor  # its inverse
    reserve: Tensor  # the norm's own


def norm_relu(norm: nn.BatchNorm2d, x_BCHW: Tensor) -> Tensor:
    """Return relu(norm(x)), of the shape of x_BCHW.

    Where gradients are wanted the norm is taken to have momentum and running statistics, and its
    `num_batches_tracked` is not counted: dnw.training.running_stats sets it.
    Raises ValueError for a single value per channel in training.
    """
    if not (norm.training and torch.is_grad_enabled() and _has_kernels(x_BCHW)):
        return F.relu(norm(x_BCHW))
    result: Tensor = _NormRelu.apply(norm, x_BCHW, norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return result


def forward(norm: nn.BatchNorm2d, x_BCHW: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Saved, int]:
    """Compute relu(norm(x)) in training, and update the running statistics.

    Args:
        norm: whose momentum, eps and running statistics are used.
        x_BCHW: what is normalized over B, H and W.
        scale: the factor of each channel, [C].
        shift: what is added to it, [C].

    Returns:
        relu(norm(x)) as x is; then `saved` and `used`, which `backward` is to be given.

    Raises:
        ValueError: there is one value for each channel alone.
    """
    F._verify_batch_size(list(x_BCHW.shape))  # type: ignore[attr-defined]
    running = (norm.running_mean, norm.running_var)
    if _has_kernels(x_BCHW):
        from dnw.models import norm_gpu  # noqa: PLC0415 (a CPU needs none, and may lack triton)

        given_NC, mean, deviation = norm_gpu.norm_relu(
            pixels(x_BCHW), scale, shift, *running, norm.momentum, norm.eps
        )
        saved = Saved(scale, shift, mean, deviation, mean.new_empty(0))
        return maps(given_NC, x_BCHW.shape), saved, TOGETHER
    # as torch.batch_norm does, except that the latter keeps what the backward is to be told
    normed_BCHW, mean, deviation, reserve, used = torch.ops.aten._batch_norm_impl_index(
        x_BCHW, scale, shift, *running, True, norm.momentum, norm.eps, torch.backends.cudnn.enabled
    )
    return normed_BCHW.relu_(), Saved(scale, shift, mean, deviation, reserve), used


def backward(
    norm: nn.BatchNorm2d,
    to_given_BCHW: Tensor,
    given_BCHW: Tensor,
    x_BCHW: Tensor,
    saved: Saved,
    used: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, scale and shift.

    Args:
        norm: as `forward` was given it.
        to_given_BCHW: the gradient of its result.
        given_BCHW: its result.
        x_BCHW: what it was given.
        saved: what else it returned.
        used: the last that it returned.
    """
    if used == TOGETHER:
        from dnw.models import norm_gpu  # noqa: PLC0415

        to_x_NC, to_scale, to_shift = norm_gpu.norm_relu_backward(
            pixels(to_given_BCHW), pixels(x_BCHW), *saved[:4]
        )
        return maps(to_x_NC, x_BCHW.shape), to_scale, to_shift
    to_normed_BCHW = torch.ops.aten.threshold_backward(to_given_BCHW, given_BCHW, 0)
    statistics = (norm.running_mean, norm.running_var, saved.mean, saved.deviation)
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._batch_norm_impl_index_backward(
        *(used, x_BCHW, to_normed_BCHW, saved.scale, *statistics, True, norm.eps),
        *([True, True, True], saved.reserve),
    )
    return result


def _has_kernels(x_BCHW: Tensor) -> bool:
    is_taken = x_BCHW.dtype in (torch.float32, torch.bfloat16)
    return is_taken and takes_kernels(x_BCHW.device, x_BCHW.dtype)


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, norm: nn.BatchNorm2d, x_BCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        given_BCHW, saved, ctx.used = forward(norm, x_BCHW, scale, shift)
        ctx.norm = norm
        ctx.save_for_backward(x_BCHW, given_BCHW, *saved)
        return given_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, given_BCHW, *saved = ctx.saved_tensors
        found = backward(ctx.norm, gradients[0], given_BCHW, x_BCHW, Saved(*saved), ctx.used)
        return None, *found
