"""What is asked of a GPU, operation by operation, and what must not be."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# Operations that have no deterministic kernel for CUDA, as torch.use_deterministic_algorithms documents.
NONDETERMINISTIC = (
    *("avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
    *("adaptive_max_pool2d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
    *("max_unpool2d", "max_unpool3d"),
    *("upsample_linear1d_backward", "upsample_bilinear2d_backward", "_upsample_bilinear2d_aa_backward"),
    *("upsample_bicubic2d_backward", "_upsample_bicubic2d_aa_backward", "upsample_trilinear3d_backward"),
    *("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
    *("nll_loss2d_forward", "nll_loss2d_backward", "_ctc_loss_backward", "_cudnn_ctc_loss"),
    *("put", "put_", "histc", "median", "nanmedian", "kthvalue"),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "_grid_sampler_2d_cpu_fallback_backward"),
)
# Operations whose result, or its size, the CPU reads: it waits until the GPU has computed it.
WAITING = (
    *("_local_scalar_dense", "is_nonzero", "equal", "item", "is_pinned"),
    *("nonzero", "nonzero_numpy", "masked_select", "bincount", "histc", "repeat_interleave"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
)
NO_OPERATIONS = ("prim", "profiler")  # questions and marks
ALLOCATING = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh")
VIEWING = ("detach", "_unsafe_view", "_reshape_alias")  # beside those that torch marks as views
IN_PLACE = ("_fused_sgd_",)  # without a fake kernel, and without a result
COPYING = ("_to_copy", "copy_", "copy")


@dataclasses.dataclass
class Counts:
    """Of what was traced."""

    calls: Counter[str] = dataclasses.field(default_factory=Counter)  # by name, of those that compute
    views: int = 0  # calls that launch nothing; allocations aren't counted
    bytes: int = 0  # read and written, as if nothing stayed in a cache
    flops: int = 0  # of products and convolutions, two for each multiply-add
    waits: list[str] = dataclasses.field(default_factory=list)  # of the CPU for the GPU
    faults: list[str] = dataclasses.field(default_factory=list)  # wrong device, no deterministic kernel


class Trace(TorchDispatchMode):
    """Counts operations, and notes each that waits, computes off the device, or isn't deterministic.

    To be entered within a FakeTensorMode.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.counts = Counts()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note an operation, and have it done."""
        kwargs = kwargs or {}
        if func.namespace in NO_OPERATIONS:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        if name in WAITING and any(one.device == self.device for one in given):
            self.counts.waits.append(name)
        result = None if name in IN_PLACE else func(*args, **kwargs)
        made = _tensors(result)
        if name in COPYING:
            self._note_copy(name, args, kwargs, made)
        elif any(one.device.type == "cpu" and one.ndim for one in made):  # a number goes along with a launch
            self.counts.faults.append(f"{name} on the CPU")
        if _is_nondeterministic(name, given):
            self.counts.faults.append(f"{name} has no deterministic kernel")
        self._count(func, name, args, kwargs, result)
        return result

    def _note_copy(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any], made: list[torch.Tensor]
    ) -> None:
        source = args[1] if name != "_to_copy" else args[0]
        into = made[0] if made else args[0]
        if into.device == source.device:
            return
        waits = not (kwargs.get("non_blocking") or (name != "_to_copy" and len(args) > 2 and args[2]))
        if into.device.type == "cpu" or waits:
            self.counts.waits.append(f"{name} from {source.device.type} to {into.device.type}")

    def _count(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        counts = self.counts
        if func.is_view or name in VIEWING:
            counts.views += 1
        if func.is_view or name in (*VIEWING, *ALLOCATING):
            return
        counts.calls[name] += 1
        counts.bytes += sum(one.numel() * one.element_size() for one in _tensors((args, kwargs, result)))
        counts.flops += _flops(func.overloadpacket, args, kwargs, result)


def _tensors(nest: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(nest) if isinstance(leaf, torch.Tensor)]


def _flops(operation: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> int:
    if operation is torch.ops.aten.convolution_backward:  # torch's own count takes groups for dense
        gradient, _, weight = args[:3]
        to_inputs, to_weight, _ = args[-1]
        return int(2 * gradient.numel() * weight[0].numel() * (to_inputs + to_weight))
    count = flop_registry.get(operation)
    return int(count(*args, **kwargs, out_val=result)) if count else 0


def _is_nondeterministic(name: str, given: list[torch.Tensor]) -> bool:
    if name in ("cumsum", "cumsum_"):
        return any(one.is_floating_point() for one in given)
    return name in NONDETERMINISTIC
