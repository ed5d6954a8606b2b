"""Costs of any network: what one image is multiplied by.

A weight of n entries, e of them edges, that takes part in a product of m multiply-adds costs m * e / n. So a
convolution costs its edges at each of its positions, whatever its groups, and a linear layer its edges for
each of its tokens. Weights are recognized where the products are computed, not by their modules, some of
which hand their weights to others (attention). Products of activations with each other aren't counted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from dnw.profile.costs import CostBlock, Profile
from dnw.profile.image import evaluating, seeded_image
from dnw.wiring import Edges, edges_of

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_MATRIX_PRODUCTS = {
    torch.ops.aten.mm.default: 0,  # place of the first factor among the arguments
    torch.ops.aten.bmm.default: 0,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.baddbmm.default: 1,
}


@dataclasses.dataclass
class _Weight:
    """A weight of the network, and the multiply-adds of all products with it, edges or not."""

    name: str
    shape: torch.Size
    groups: int
    products: int = 0

    def edges(self, mask: Tensor | None) -> int:
        return self.shape.numel() if mask is None else int(mask.count_nonzero())


def weights_of(model: nn.Module, image_size: int) -> list[_Weight]:
    """Return the weights that are multiplied with; maps an image [1, 3, H, W] to logits to see which are."""
    device = next(model.parameters()).device
    with evaluating(model), parametrize.cached():
        products = _Products(_weights(model))
        with products.of(model):
            model(seeded_image(image_size, device))
        return [weight for weight in products.weights.values() if weight.products]


def layer_costs(weights: Sequence[_Weight], image_size: int, wirings: Mapping[str, Edges]) -> Profile:
    """Count the costs for one image of any network; `wirings`: edges by the path of the weight.

    Args:
        weights: those of its layers, as `weights_of` finds them.
        image_size: side of the image, in pixels.
        wirings: edges by the path of the weight.
    """
    masks = {path: edges.mask for path, edges in wirings.items()}
    counts = [weight.edges(masks.get(weight.name)) for weight in weights]
    params = sum(counts)
    macs = sum(one.products * edges // one.shape.numel() for one, edges in zip(weights, counts, strict=True))
    blocks = tuple(_block(weight, masks.get(weight.name)) for weight in weights)
    return Profile(image_size, params, macs, params, macs, 1, blocks)


def _weights(model: nn.Module) -> Iterator[tuple[_Weight, Tensor]]:
    """Everything that may be multiplied with, named by its layer where that is a convolution or linear."""
    wired = edges_of(model)
    for path, module in model.named_modules():
        if path in wired or isinstance(module, _LAYERS):
            weight = module.weight
            assert isinstance(weight, Tensor)
            yield _Weight(path, weight.shape, int(getattr(module, "groups", 1))), weight
        elif not isinstance(module, parametrize.ParametrizationList):
            for name, parameter in module.named_parameters(prefix=path, recurse=False):
                if parameter.ndim > 1:
                    yield _Weight(name, parameter.shape, 1), parameter


class _Products(TorchDispatchMode):
    """Notes the multiply-adds of every product with a weight."""

    def __init__(self, weights: Iterator[tuple[_Weight, Tensor]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        found = list(weights)
        self._tensors = [tensor for _, tensor in found]  # or their memory could be another's meanwhile
        self.weights = {_storage(tensor): weight for weight, tensor in found}
        self._running: _Weight | None = None  # the layer at work, which may have made a weight of its weight

    @contextmanager
    def of(self, model: nn.Module) -> Iterator[None]:
        """Watch a forward of `model`."""
        by_name = {weight.name: weight for weight in self.weights.values()}
        fast_attention = torch.backends.mha.get_fastpath_enabled()
        with ExitStack() as stack:
            for path, module in model.named_modules():
                if isinstance(module, _LAYERS) and path in by_name:
                    stack.callback(module.register_forward_pre_hook(self._enter(by_name[path])).remove)
                    stack.callback(module.register_forward_hook(self._leave).remove)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast_attention)
            torch.backends.mha.set_fastpath_enabled(False)  # it hides its products in one operation
            stack.enter_context(self)
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _MATRIX_PRODUCTS:
            first = _MATRIX_PRODUCTS[func]
            self._note(args[first : first + 2], result.numel() * args[first].shape[-1])
        elif func is torch.ops.aten.convolution.default:
            image, weight, is_transposed = args[0], args[1], args[6]
            positions = image.numel() if is_transposed else result.numel()
            self._note(args[:2], positions * math.prod(weight.shape[1:]))
        return result

    def _note(self, factors: Sequence[Tensor], multiply_adds: int) -> None:
        known = (self.weights[key] for key in map(_storage, factors) if key in self.weights)
        weight = self._running or next(known, None)
        if weight is not None:
            weight.products += multiply_adds

    def _enter(self, weight: _Weight) -> Any:
        def hook(*_: object) -> None:
            self._running = weight

        return hook

    def _leave(self, *_: object) -> None:
        self._running = None


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _block(weight: _Weight, mask: Tensor | None) -> CostBlock:
    rows, columns = weight.shape[:2]
    nodes = columns * weight.groups
    if mask is None:
        has_output, has_input = nodes, rows
    else:
        # by group, rows of the group, columns of the group, entries of a filter
        edges_GTSK = mask.view(weight.groups, rows // weight.groups, columns, -1).any(3)
        has_output, has_input = int(edges_GTSK.any(1).sum()), int(edges_GTSK.any(2).sum())
    edges = weight.edges(mask)
    return CostBlock(
        name=weight.name,
        nodes=nodes,
        edges=edges,
        illegal=0,
        has_output=has_output,
        has_input=has_input,
        live=has_output,
        dead=nodes - has_output,
        live_edges=edges,
    )
