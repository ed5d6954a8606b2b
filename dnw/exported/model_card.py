"""A page about an exported network for those who use it, as model hubs show it: Markdown with a YAML head.

It says what is known, and where nothing is known, that it isn't.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dnw.compact.form import Compact
from dnw.config import Train
from dnw.exported.model_file import Card
from dnw.identity import signature
from dnw.profile.costs import Profile

Record = Mapping[str, Any]
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


def card_path(out: Path) -> Path:
    """Return where the page about a file lies: beside it."""
    return out.with_suffix(".card.md")


def model_card(
    file: str,
    card: Card,
    train: Train,
    network: Compact,
    costs: Profile,
    records: Iterable[Record],
    licence: str | None,
    is_average: bool = False,
) -> str:
    """Write the page.

    Args:
        file: the name of the exported network.
        card: what the file says of itself.
        train: the configuration that it was trained with.
        network: what is exported.
        costs: those of the network as it was trained.
        records: what the run has logged (metrics.jsonl), the accuracy at the card's step if it is known.
        licence: of the weights, an SPDX identifier; None: not stated.
        is_average: the weights are the average over the training.
    """
    facts = _facts(card, train, costs, records, licence, is_average)
    edges = sum(len(sums.weights) for block in network.blocks for sums in block.sums)
    lines = [
        *_head(licence),
        "",
        f"# {_plain(file)}",
        "",
        f"An image classifier whose wiring was chosen by `{train.wiring.name}`: {edges:,} edges between the",
        "channels of its feature maps are left (Discovering Neural Wirings, <https://arxiv.org/abs/1906.00586>).",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_plain(value)} |" for name, value in facts),
        "",
        "## Use",
        "",
        "It needs numpy, numba and safetensors, Pillow for image files, and no torch.",
        "",
        "    import dnw",
        f"    network = dnw.load({json.dumps(file)})",
        '    for guess in network.classify("photo.jpg"):',
        "        print(guess.name, guess.probability)",
        "",
        f"`network(images)` maps uint8 [B, 3, {card.image_size}, {card.image_size}], colours from 0 to 255,",
        f"to logits [B, {card.classes}].",
        "",
    ]
    return "\n".join(lines)


def _head(licence: str | None) -> Iterable[str]:
    yield from (
        "---",
        "library_name: dnw",
        "tags: [image-classification, sparse, discovering-neural-wirings]",
    )
    if licence:
        yield f"license: {json.dumps(licence)}"
    yield "---"


def _facts(
    card: Card, train: Train, costs: Profile, records: Iterable[Record], licence: str | None, is_average: bool
) -> Iterable[tuple[str, str]]:
    size = card.image_size
    short = "" if card.resize is None else f"shorter side scaled to {card.resize} pixels, then "
    stored = card.stored
    whole = "" if stored is None else f", but images of {stored} x {stored} pixels scaled whole"
    names = "with names" if card.class_names else "without names"
    yield "accuracy", _accuracy(card.step, records, "val_ema" if is_average else "val")
    if is_average:
        yield "weights", f"their exponential moving average over the training, {train.optim.ema:g}"
    yield "costs", f"{costs.effective_macs:,} multiply-adds an image, {costs.effective_params:,} parameters"
    trained = "" if train.data.image_size == size else f"; trained on {train.data.image_size} pixels"
    yield "images", f"{size} x {size} pixels: {short}the centre cut out{whole}{trained}"
    yield (
        "normalized by",
        f"mean {_numbers(card.mean)}, deviation {_numbers(card.std)}, of colours from 0 to 1",
    )
    yield "classes", f"{card.classes}, {names}"
    yield (
        "trained on",
        f"{train.data.dir.name}, data fingerprint {train.data.train_fingerprint[:16] or 'not known'}",
    )
    yield (
        "trained by",
        f"experiment {train.exp}, signature {signature(train)}, step {card.step:,}, seed {train.seed}",
    )
    if train.init or train.wiring.source:
        yield "began with", _beginning(train)
    yield (
        "licence of the weights",
        licence or "not stated; ask who trained it, and see the licence of the images",
    )


def _beginning(train: Train) -> str:
    """Return which weights a run began with; of the hub's files all are called alike, so with the folders."""
    if not train.init:
        return f"run {'/'.join(Path(train.wiring.source).parts[-2:])}"
    parts = Path(train.init).parts
    file = "/".join(parts[-4:] if "snapshots" in parts else parts[-1:])
    return f"{file}, SHA-256 {train.init_fingerprint[:16]}"


def _accuracy(step: int, records: Iterable[Record], kind: str) -> str:
    """Return the last one that was logged at this step, or says that there is none."""
    found = [one for one in records if one.get("step") == step and one.get("kind") == kind]
    if not found:
        return f"not known: no evaluation at step {step}"
    last = found[-1]
    return f"top-1 {last['top1']:.2f} %, top-5 {last['top5']:.2f} % of {last['samples']:,} validation images"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
