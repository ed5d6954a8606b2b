"""Convert a checkpoint of the paper's own code into one that dnw.evaluate and dnw.profile read.

python -m dnw.import_reference published.pt +exp=imagenet_dnw width=0.225 dnw_x225.pt

Nothing in the file is run. The network is composed with wiring.reference_quirks=true, as the paper's code
chose its edges, unless the command line says otherwise.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnw import model_registry, models, optimizer_registry
from dnw.compose import training
from dnw.config import ConfigError, Train, plain
from dnw.identity import signature
from dnw.invocation import SUBMIT
from dnw.paper import safe_unpickle
from dnw.paper.reference_weights import ImportStateError, import_state
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, Identity, Position, is_sealed
from shards import command

QUIRKS = "wiring.reference_quirks"
AS_IN_THE_PAPER = {QUIRKS: "true", "precision": "fp32"}


def weights(path: Path) -> tuple[Mapping[str, Tensor], int]:
    """Read the state dict in a file of the paper's code, and the step it was taken at (0: not told).

    Takes whole checkpoints, best ones, and bare state dicts as its initializations are. Raises
    ForeignFileError if the file can't be read safely, ImportStateError if it holds no state dict.
    """
    content = safe_unpickle.read(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise ImportStateError(f"{path}: holds neither a checkpoint nor a state dict")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ImportStateError(f"{path}: {name}: no tensor but {type(tensor).__name__}, so no state dict")
    return state, _step(content)


def configuration(words: Sequence[str], state: Mapping[str, Tensor]) -> Train:
    """Return the configuration of the network that holds `state`.

    It computes in fp32, with the quirks of the paper's code, unless `words` say otherwise. A random graph
    becomes a dnw one, see import_state. Raises ConfigError for words that make no configuration,
    ImportStateError for a random wiring without the mask that is its graph.
    """
    typed = {word.lstrip("+").partition("=")[0] for word in words}
    assumed = [f"{key}={value}" for key, value in AS_IN_THE_PAPER.items() if key not in typed]
    train = training([*words, *assumed])
    if train.wiring.name != "random":
        return train
    if not any(name.endswith(".mask") for name in state):
        raise ImportStateError(
            "wiring=random: the file has no mask, so it isn't a random graph; "
            "give the wiring it was trained with"
        )
    return dataclasses.replace(train, wiring=dataclasses.replace(train.wiring, name="dnw"))


def import_file(path: Path, words: Sequence[str], out: Path) -> Train:
    """Make the checkpoint `out` of a file of the paper's code; returns its configuration.

    Args:
        path: of the paper's file.
        words: what makes the configuration, as typed.
        out: the checkpoint, which must not be there yet.

    Raises:
        ConfigError: the words make no configuration, or `out` exists.
        UnsafeFileError, ImportStateError: the file can't be read safely, or holds another network.
        CheckpointError: `out` can't be written.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists; name a new file")
    if is_sealed(path):
        raise ConfigError(f"{path}: a checkpoint of this project already, which python -m dnw.evaluate takes")
    state, step = weights(path)
    train = configuration(words, state)
    model_registry.check(train)
    optimizer_registry.check(train.optim)
    model = models.build(train)
    import_state(state, model)
    imported = Checkpoint(
        identity=Identity(train.exp, signature(train), "", ""),
        position=Position(step=step),
        model=model.state_dict(),
        optimizer={},
        meter=torch.zeros(3, dtype=torch.float64),
        masks={},
        train=plain(train),
    )
    checkpoint.write(out, checkpoint.encode(imported))
    return train


@command.answers()
def main(arguments: list[str] | None = None) -> int:
    """Import one file; returns the exit code."""
    parser = command.Parser(
        prog="python -m dnw.import_reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=command.path, help="a .pt file of the paper's code")
    parser.add_argument("words", nargs="+", metavar="+exp=NAME key=value", help=f"as for {SUBMIT}")
    parser.add_argument("out", type=command.path, metavar="OUT.pt", help="the checkpoint to write")
    asked = parser.parse_args(arguments)
    train = import_file(asked.file, asked.words, asked.out)
    quirks = "on" if train.wiring.reference_quirks else "off"
    print(f"{asked.out}: {train.model.name}, wiring={train.wiring.name}, {QUIRKS} {quirks}")
    print(f"python -m dnw.evaluate {shlex.quote(str(asked.out))} --data FOLDER")
    return 0


def _step(content: dict[str, Any]) -> int:
    step = content.get("iter")
    return step if type(step) is int and step >= 0 else 0


if __name__ == "__main__":
    sys.exit(main())
