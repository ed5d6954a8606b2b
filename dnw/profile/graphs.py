"""Costs of the paper's graphs of channels, counted as the paper does.

Counted are edges, a 3x3 filter for each node with an outgoing edge, the stem as far as its outputs have such
edges, pooling and classifier as far as their inputs have incoming ones. Norms and biases are not. The tiny
networks, which the paper doesn't profile, are counted by the same rule: in discrete time the graph costs as
many times as there are steps, in continuous time as many times as the solver evaluates it for one image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from torch import Tensor, nn

from dnw.models.discrete import STEPS, Discrete
from dnw.models.mobilenet import BLOCKS, MobileNet
from dnw.models.static import Static
from dnw.profile.costs import CostBlock, Profile
from dnw.profile.image import evaluating, seeded_image
from dnw.wiring import Edges
from dnw.wiring.paths import Use, chosen, in_continuous_time, on_paths, step_by_step, together

if TYPE_CHECKING:  # it brings scipy
    from dnw.models.continuous import Continuous

    Tiny = Static | Discrete | Continuous

_FILTER = 3 * 3


def is_tiny(model: nn.Module) -> TypeGuard[Tiny]:
    """Whether it is one of the paper's tiny networks."""
    return isinstance(model, Static | Discrete) or is_continuous(model)


def is_continuous(model: nn.Module) -> TypeGuard[Continuous]:
    """Whether it is the one in continuous time, known by what it counts."""
    return hasattr(model, "evaluations")


def mobilenet_costs(model: MobileNet, image_size: int, wirings: Mapping[str, Edges]) -> Profile:
    """Count the costs of a MobileNetV1-like network for one image.

    Args:
        model: the network.
        image_size: side of the image, pixels.
        wirings: the edges of each graph, by the path of its weight in the model.
    """
    uses, live = [chosen(edges) for edges in wirings.values()], on_paths(list(wirings.values()))
    counts = [_count(use, edges.quota) for use, edges in zip(uses, wirings.values(), strict=True)]
    params, macs = _of_mobilenet(model, counts, image_size)
    effective_params, effective_macs = _of_mobilenet(model, [_count(use) for use in live], image_size)
    blocks = tuple(map(_block, wirings, uses, live))
    return Profile(image_size, params, macs, effective_params, effective_macs, 1, blocks)


def tiny_costs(model: Tiny, image_size: int, repeats: int, wirings: Mapping[str, Edges]) -> Profile:
    """Count the costs for one image of a tiny network that runs its graph `repeats` times.

    Args:
        model: the network.
        image_size: side of the image, in pixels.
        repeats: how often its graph is run.
        wirings: edges by the path of the weight; there is one.
    """
    ((path, edges),) = wirings.items()
    use, live = chosen(edges), _live(model, edges, repeats)
    count, all_live = _count(use, edges.quota), _count(together(live))
    params, macs = _of_tiny(model, count, [count] * repeats, image_size)
    effective_params, effective_macs = _of_tiny(model, all_live, [_count(one) for one in live], image_size)
    block = _block(path, use, together(live))
    return Profile(image_size, params, macs, effective_params, effective_macs, repeats, (block,))


def repeats_of(model: Tiny, image_size: int) -> int:
    """How often a tiny network runs its graph; sends an image through one in continuous time."""
    if is_continuous(model):
        with evaluating(model):
            model(seeded_image(image_size, model.fc.weight.device))
        return model.evaluations
    return STEPS if isinstance(model, Discrete) else 1


def _live(model: Tiny, edges: Edges, repeats: int) -> list[Use]:
    """Return what lies on a path, for each time that the graph is run."""
    if is_continuous(model):
        return [in_continuous_time(edges)] * repeats
    return step_by_step(edges, repeats) if isinstance(model, Discrete) else on_paths([edges])


@dataclasses.dataclass(frozen=True)
class _Count:
    """How much of a graph is in use."""

    edges: int
    nodes: int
    inputs: int  # nodes that are inputs of the graph
    outputs: int
    quota: float | None  # the paper's budget before rounding, where its arithmetic is to be reproduced

    def cost(self, pixels: int) -> int:
        """Multiply-adds of edges and filters; for a single pixel that is the number of parameters."""
        if self.quota is None:
            return (self.edges + _FILTER * self.nodes) * pixels
        # the paper's code takes the unrounded budget and adds in single precision
        return int(np.float32(_FILTER * self.nodes * pixels) + np.float32(self.quota * pixels))

    def cost_of_edges(self) -> int:
        """Multiply-adds, and parameters, of a classifier: edges alone, on one pixel."""
        return self.edges if self.quota is None else int(self.quota)


def _count(use: Use, quota: float | None = None) -> _Count:
    inputs = _number(use.sources[: use.layout.inputs])
    return _Count(_number(use.edges), _number(use.sources), inputs, _number(use.outputs), quota)


def _number(which: Tensor) -> int:
    return int(which.count_nonzero())


def _block(name: str, use: Use, live: Use) -> CostBlock:
    edges, live_nodes = _number(use.edges), _number(live.sources)
    return CostBlock(
        name=name,
        nodes=use.layout.columns,
        edges=edges,
        illegal=edges - _number(use.edges & use.layout.legal()),
        has_output=_number(use.sources),
        has_input=_number(use.edges.any(1)),
        live=live_nodes,
        dead=use.layout.columns - live_nodes,
        live_edges=_number(live.edges),
    )


def _of_mobilenet(model: MobileNet, counts: Sequence[_Count], image_size: int) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    side = _strided(image_size, model.conv1.stride[0])
    stem = 3 * _FILTER * counts[0].inputs
    params, macs = stem, stem * side**2
    for (_, _, stride, _), count in zip(BLOCKS, counts, strict=False):
        side = _strided(side, stride)
        params += count.cost(1)
        macs += count.cost(side**2)
    outputs = counts[len(BLOCKS) - 1].outputs
    if isinstance(model.linear, nn.Linear):
        classifier = outputs * model.linear.out_features
    else:
        classifier = counts[-1].cost_of_edges()
    return params + classifier, macs + outputs * side**2 + classifier


def _of_tiny(model: Tiny, count: _Count, runs: Sequence[_Count], image_size: int) -> tuple[int, int]:
    """Parameters and multiply-adds, where `runs` is what is in use each time that the graph is run."""
    first, filters, mix = (layer for layer in model.downsample if isinstance(layer, nn.Conv2d))
    half = _strided(image_size, 2)
    pixels = _strided(half, 2) ** 2
    stem = filters.weight.numel() + mix.in_channels * count.inputs
    classifier = count.outputs * model.fc.out_features
    params = first.weight.numel() + stem + count.cost(1) + classifier
    graph = sum(run.cost(pixels) for run in runs)
    macs = first.weight.numel() * half**2 + stem * pixels + graph + 4 * count.outputs + classifier
    return params, macs


def _strided(side: int, stride: int) -> int:
    return -(-side // stride)
