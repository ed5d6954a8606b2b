"""What a network costs, before training or as trained.

python -m dnw.profile +exp=imagenet_dnw width=0.225
python -m dnw.profile runs/imagenet_dnw/default-0123456789

With init= the names and shapes of the weights are compared with the network's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich import box
from rich.table import Table
from torch import nn

from dnw import model_registry, models, optimizer_registry
from dnw.compose import training
from dnw.config import ConfigError, Train
from dnw.console import PlainConsole
from dnw.invocation import SUBMIT
from dnw.models.mobilenet import MobileNet
from dnw.pretrained.loading import init_from_file
from dnw.pretrained.resolve import resolve_weights
from dnw.profile import Profile, profile
from dnw.profile.graphs import is_continuous, is_tiny
from dnw.training.checkpointed_model import load_checkpointed_model
from shards import command

COLUMNS = ("name", "edges", "illegal", "live_edges", "nodes", "has_output", "live", "dead")


@command.answers(2)
def main(arguments: list[str] | None = None) -> int:
    """Print what a network costs, as a table or as one line of JSON."""
    parser = command.Parser(
        prog="python -m dnw.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words", nargs="+", metavar="+exp=NAME key=value", help=f"as for {SUBMIT}; or a run folder"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    train, model = _network(options.words)
    found = profile(model, train.data.test_size)
    if options.json:
        print(json.dumps(dataclasses.asdict(found)))
    else:
        console = PlainConsole(width=200)
        console.print(_table(found))
        console.print(_totals(found, model))
    return 0


def _network(words: Sequence[str]) -> tuple[Train, nn.Module]:
    if len(words) == 1 and words[0] and Path(words[0]).exists():
        found = load_checkpointed_model(Path(words[0]))
        return found.train, found.model
    if run := next((word for word in words if word and Path(word).exists()), None):
        raise ConfigError(f"{run}: a network has its settings; type it alone, or compose one from +exp=NAME")
    train = training(words)
    model_registry.check(train)
    optimizer_registry.check(train.optim)
    model = models.build(train)
    if train.init:
        said = init_from_file(resolve_weights(train, None, download=False), model)
        print(f"note init: {said}", file=sys.stderr)
    return train, model


def _table(found: Profile) -> Table:
    table = Table(
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
        title=f"Cost of one image of {found.image_size} px",
        title_justify="left",
    )
    for column in COLUMNS:
        justify: Literal["left", "right"] = "left" if column == "name" else "right"
        table.add_column(column.replace("_", " "), justify=justify)
    for block in found.blocks:
        table.add_row(*(_cell(getattr(block, column)) for column in COLUMNS))
    return table


def _totals(found: Profile, model: nn.Module) -> str:
    lines = [f" parameters {found.params:,}  multiply-adds {found.macs:,}"]
    if isinstance(model, MobileNet) or is_tiny(model):
        effective = f"{found.effective_params:,}  {found.effective_macs:,}"
        lines.append(f" on a path from image to classifier: {effective}")
    else:
        lines.append(" products of activations with each other (attention) aren't counted")
    if is_continuous(model):
        lines.append(f" the graph evaluated {found.repeats} times, as the solver did for one image of noise")
    elif found.repeats > 1:
        lines.append(f" the graph run {found.repeats} times")
    return "\n".join(lines)


def _cell(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


if __name__ == "__main__":
    sys.exit(main())
