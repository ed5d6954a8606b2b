"""A trained network as one file for use elsewhere: only what matters of it, without a configuration.

python -m dnw.export runs/static_dnw/default-0123456789 static.safetensors
python -m dnw.export runs/static_dnw/default-0123456789/checkpoints/best.pt best.safetensors --onnx best.onnx
python -m dnw.export runs/static_dnw/default-0123456789 average.safetensors weights=ema

dnw.load reads it. A page about it, best.card.md, is written beside it: accuracy, costs, data, how to load it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dnw.augmentation.crop import RESIZE_TO_CROP
from dnw.compact import Compact, can_compact, compact
from dnw.exported import model_file
from dnw.exported.model_card import card_path, model_card
from dnw.exported.model_file import Card
from dnw.identity import signature
from dnw.profile import profile
from dnw.runs import jsonl
from dnw.runs.folder import Run
from dnw.splits import check_classes
from dnw.training.checkpointed_model import CheckpointedModel, chosen_weights, load_checkpointed_model
from shards import command
from shards.atomic import replacing
from shards.errors import ExpectedError
from shards.index import Index
from shards.user_class.names import is_user_class

SAFETENSORS, ONNX = ".safetensors", ".onnx"


class ExportError(ExpectedError):
    """A network that can't be written in the form that was asked for."""


@command.answers()
def main(arguments: list[str] | None = None) -> int:
    """Export one network; returns the exit code."""
    parser = command.Parser(
        prog="python -m dnw.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=command.path, metavar="RUN", help="a run folder, or a checkpoint in one")
    parser.add_argument(
        "out",
        type=partial(_file, suffixes=(SAFETENSORS, ONNX)),
        metavar="OUT",
        help="the file to write: OUT.safetensors, which dnw.load reads, or OUT.onnx, with dense matrices",
    )
    parser.add_argument(
        "weights",
        type=chosen_weights,
        nargs="?",
        default="weights=trained",
        metavar="weights=ema",
        help="the average of the weights, not those trained last (optim.ema)",
    )
    parser.add_argument(
        "--onnx", type=partial(_file, suffixes=(ONNX,)), metavar="FILE.onnx", help="also as ONNX"
    )
    parser.add_argument(
        "--data", type=command.path, metavar="FOLDER", help="where the shards are, for names of classes"
    )
    parser.add_argument(
        "--licence", metavar="SPDX", help="of the weights, for the page about them, as in apache-2.0"
    )
    asked = parser.parse_args(arguments)
    for out in filter(None, (asked.out, asked.onnx)):
        _check_out(out)
    loaded = load_checkpointed_model(asked.path, asked.weights)
    train, model = loaded.train, loaded.model
    if not can_compact(model):
        raise ExportError(f"model={train.model.name} has no compact form, only mobilenet and static have")
    card = card_of(loaded, asked.data)
    network = compact(model, card.image_size)
    for path in filter(None, (asked.out, asked.onnx)):
        _WRITE[path.suffix](path, network, card)
    _write_card(asked, loaded, network, card)
    edges = sum(len(sums.weights) for block in network.blocks for sums in block.sums)
    names = "" if card.class_names else "; names of classes unknown, --data FOLDER says where the shards are"
    size = f"{asked.out.stat().st_size:,} bytes"
    print(
        f"{asked.out}: {size}, {edges:,} edges, step {card.step}, described in {card_path(asked.out)}{names}"
    )
    return 0


def _write_card(asked: argparse.Namespace, loaded: CheckpointedModel, network: Compact, card: Card) -> None:
    run = Run(asked.path if asked.path.is_dir() else asked.path.parent.parent)
    costs = profile(loaded.model, card.image_size)
    records = jsonl.read(run.metrics)
    page = model_card(
        asked.out.name, card, loaded.train, network, costs, records, asked.licence, asked.weights == "ema"
    )
    with replacing(card_path(asked.out)) as file:
        file.write(page.encode())


def _check_out(path: Path) -> None:
    """Refuse a name that no file can have, before anything is computed."""
    if path.is_dir():
        raise ExportError(f"{path}: a folder; name a file, say {path / 'network.safetensors'}")
    if not path.parent.is_dir():
        raise ExportError(f"{path}: its folder {path.parent} isn't there; make it first")


def card_of(loaded: CheckpointedModel, data: Path | None = None) -> Card:
    """Return what a file says of the network of a run.

    Names of classes are those of the run. Where it has none they come from the shards in `data`, or in
    data.dir if that is here; shards in `data` are compared with the run.

    Raises:
        ShardError: shards that are damaged, or aren't in `data`, or have other classes.
        ConfigError: they have another number of classes.
    """
    train, names = loaded.train, loaded.classes
    folder = train.data.dir if data is None else data
    if data is not None or (names is None and folder.is_dir()):
        known = Index.record(folder, "val")
        check_classes(known, train.data, names, loaded.noted)
        names = known.classes if names is None else names
    own = is_user_class(
        train.data.augment
    )  # then images are of one size, or photographs of any: each as it is
    is_photographs = own or train.data.augment == "resized_crop_flip"
    return Card(
        run=f"{train.exp}-{signature(train)}",
        step=loaded.step,
        image_size=train.data.test_size,
        resize=round(train.data.test_size * RESIZE_TO_CROP) if is_photographs else None,
        mean=train.data.mean,
        std=train.data.std,
        classes=train.data.classes,
        class_names=names,
        stored=train.data.image_size if own else None,
    )


def _write_onnx(path: Path, network: Compact, card: Card) -> None:
    try:
        from dnw.exported.onnx_graph import onnx_model  # noqa: PLC0415  (of the extra `onnx`)
    except ImportError as error:
        raise ExportError(f"--onnx needs onnx ({error}): python -m pip install 'dnw[onnx]'") from None
    with replacing(path) as file:
        file.write(onnx_model(network, card).SerializeToString())


_WRITE = {SAFETENSORS: model_file.write, ONNX: _write_onnx}


def _file(word: str, suffixes: Sequence[str]) -> Path:
    """Return a file whose name says how it is written."""
    path = command.path(word)
    if path.suffix not in suffixes:
        raise argparse.ArgumentTypeError(f"{word!r}: must end in {' or '.join(suffixes)}")
    return path


if __name__ == "__main__":
    sys.exit(main())
