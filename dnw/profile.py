"""What a network costs: parameters and multiply-adds as the paper counts them, and what of it is in use.

python -m dnw.profile +exp=imagenet_dnw width=0.225

Counted are edges, a 3x3 filter for each node with an outgoing edge, the stem as far as its outputs have such
edges, pooling and classifier as far as their inputs have incoming ones. Norms and biases are not. The tiny
static network, which the paper doesn't profile, is counted by the same rule.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from dnw import models
from dnw.compose import training
from dnw.config import ConfigError, Train
from dnw.models.mobilenet import BLOCKS, stem_stride
from dnw.wiring import edges_of
from dnw.wiring.paths import Use, chosen, on_paths

_FILTER = 3 * 3


@dataclasses.dataclass(frozen=True)
class Block:
    """One graph. Its nodes are those with a column: all but the outputs of a MobileNetV1-like block."""

    name: str
    nodes: int
    edges: int
    illegal: int  # edges chosen where none is computed: 0 unless wiring.reference_quirks
    has_output: int  # nodes with an outgoing edge
    has_input: int  # rows with an incoming edge
    live: int  # nodes on a path from the image to the classifier
    dead: int  # the other nodes
    live_edges: int  # edges on such a path


@dataclasses.dataclass(frozen=True)
class Profile:
    """Costs for one image. The effective ones count only what lies on a path from it to the classifier."""

    image_size: int
    params: int
    macs: int
    effective_params: int
    effective_macs: int
    blocks: tuple[Block, ...]


def profile(model: nn.Module, image_size: int) -> Profile:
    """Count the costs of `model` for images of image_size x image_size pixels.

    The paper gives its figures for 224 pixels, whatever the data. Raises TypeError for a network it doesn't
    know.
    """
    wirings = {path: edges for path, (_, edges) in edges_of(model).items()}
    uses = [chosen(edges) for edges in wirings.values()]
    live = on_paths(list(wirings.values()))
    all_chosen = [_count(use, edges.quota) for use, edges in zip(uses, wirings.values(), strict=True)]
    all_live = [_count(use) for use in live]
    params, macs = _costs(model, all_chosen, image_size)
    effective_params, effective_macs = _costs(model, all_live, image_size)
    blocks = tuple(map(_block, wirings, uses, live))
    return Profile(image_size, params, macs, effective_params, effective_macs, blocks)


def main(arguments: list[str] | None = None) -> int:
    """Print what a network costs before training, as a table or as one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m dnw.profile", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("words", nargs="+", metavar="+exp=NAME key=value", help="as for launch/slurm.py")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    try:
        show(training(options.words), options.json)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def show(train: Train, as_json: bool) -> None:
    """Print what the network of `train` costs."""
    found = profile(models.build(train), train.data.image_size)
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
    else:
        console = Console(highlight=False)
        console.print(_table(found))
        console.print(_totals(found))


def _block(name: str, use: Use, live: Use) -> Block:
    edges, live_nodes = _number(use.edges), _number(live.sources)
    return Block(
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


def _costs(model: nn.Module, counts: Sequence[_Count], image_size: int) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    if isinstance(model, models.MobileNet):
        return _costs_of_mobilenet(model, counts, image_size)
    if isinstance(model, models.Static):
        return _costs_of_static(model, counts[0], image_size)
    raise TypeError(f"{type(model).__name__}: costs are known for MobileNet and Static only")


def _costs_of_mobilenet(
    model: models.MobileNet, counts: Sequence[_Count], image_size: int
) -> tuple[int, int]:
    side = _strided(image_size, stem_stride(image_size))
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


def _costs_of_static(model: models.Static, count: _Count, image_size: int) -> tuple[int, int]:
    first, filters, mix = (layer for layer in model.downsample if isinstance(layer, nn.Conv2d))
    half = _strided(image_size, 2)
    pixels = _strided(half, 2) ** 2
    stem = filters.weight.numel() + mix.in_channels * count.inputs
    classifier = count.outputs * model.fc.out_features
    params = first.weight.numel() + stem + count.cost(1) + classifier
    macs = (
        first.weight.numel() * half**2 + stem * pixels + count.cost(pixels) + 4 * count.outputs + classifier
    )
    return params, macs


def _strided(side: int, stride: int) -> int:
    return -(-side // stride)


def _table(found: Profile) -> Table:
    table = Table(
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
        title=f"Cost of one image of {found.image_size} px",
        title_justify="left",
    )
    columns = ("name", "edges", "illegal", "live_edges", "nodes", "has_output", "live", "dead")
    for column in columns:
        justify: Literal["left", "right"] = "left" if column == "name" else "right"
        table.add_column(column.replace("_", " "), justify=justify)
    for block in found.blocks:
        table.add_row(*(_cell(getattr(block, column)) for column in columns))
    return table


def _totals(found: Profile) -> str:
    return (
        f" parameters {found.params:,}  multiply-adds {found.macs:,}\n"
        f" on a path from image to classifier: {found.effective_params:,}  {found.effective_macs:,}"
    )


def _cell(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


if __name__ == "__main__":
    sys.exit(main())
