"""A page about the images of a set: how many of each class, how large, what is wrong, what looks odd.

One HTML file that needs no other. What looks odd is no fault: the same image in two classes or two splits,
one of a single colour, long and narrow, or much smaller than the others.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from shards.decode import Picture, Pixels
from shards.ignored import printable
from shards.index.index import Index
from shards.reader import Reader

# of an image, in pixels; 0 where it can't be decoded
MEASURE = np.dtype([("width", "<i4"), ("height", "<i4"), ("is_flat", "?")])
Measures = npt.NDArray[np.void]  # of MEASURE
_SHOWN = 24  # pictures of a kind
_THUMBNAIL = 128  # pixels
_NARROW = 4  # times as long as wide
_SMALL = 4  # times smaller than the median
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .15em .8em; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f4 }
figure { display: inline-block; margin: .5em; width: 130px; vertical-align: top; font-size: 11px }
figcaption { overflow-wrap: anywhere } img { border: 1px solid #ccc }
"""


class Sample(NamedTuple):
    """An image: its split, and its number there."""

    split: int
    number: int


def measure(pixels: Pixels) -> tuple[int, int, bool]:
    """Return what is noted of an image, pixels_HWC, as MEASURE has it."""
    return pixels.shape[1], pixels.shape[0], bool((pixels == pixels[0, 0]).all())


def page(
    indexes: Sequence[Index], measures: Mapping[str, Measures], faults: Iterable[tuple[str, str, str]]
) -> str:
    """Return the page, HTML.

    Args:
        indexes: of the splits.
        measures: of the images of each shard; a shard that isn't whole is left out.
        faults: file, key and what is wrong.
    """
    known = [_of_split(index, measures) for index in indexes]
    title = escape(printable(indexes[0].folder))
    parts = [
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        *_faults(list(faults)),
        *_sizes(indexes, known),
        *_odd(indexes, known),
        *_classes(indexes),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _of_split(index: Index, measures: Mapping[str, Measures]) -> Measures:
    """Return the measures of a split, [num_samples]."""
    nothing = [np.zeros(shard.samples, MEASURE) for shard in index.shards]
    there = zip(index.shards, nothing, strict=True)
    return np.concatenate([measures.get(shard.file, zeros) for shard, zeros in there])


def _faults(faults: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    yield f"<h2>{len(faults):,} faults</h2>"
    if faults:
        yield from _table(("file", "key", "what"), faults)


def _sizes(indexes: Sequence[Index], known: Sequence[Measures]) -> Iterator[str]:
    yield "<h2>Sizes</h2>"
    rows: list[tuple[object, ...]] = []
    for index, measured in zip(indexes, known, strict=True):
        there = measured[measured["width"] > 0]
        values = {"width": there["width"], "height": there["height"], "bytes": index.sizes}
        for what, some in values.items():
            quantiles = np.quantile(some, (0, 0.05, 0.5, 0.95, 1)) if len(some) else ()
            rows.append((f"{index.split}: {what}", f"{len(some):,}", *(f"{one:,.0f}" for one in quantiles)))
    yield from _table(("", "images", "least", "5 %", "median", "95 %", "most"), rows)


def _classes(indexes: Sequence[Index]) -> Iterator[str]:
    counts = [Counter(index.labels.tolist()) for index in indexes]
    names = indexes[0].classes or ()
    there = sorted({*range(len(names)), *(label for some in counts for label in some)})
    yield f"<h2>{len(there):,} classes</h2>"
    rows = [
        (f"{label} {names[label] if label < len(names) else ''}", *(f"{some[label]:,}" for some in counts))
        for label in there
    ]
    total = ("all", *(f"{index.num_samples:,}" for index in indexes))
    yield from _table(("class", *(index.split for index in indexes)), [total, *rows])


def _odd(indexes: Sequence[Index], known: Sequence[Measures]) -> Iterator[str]:
    readers = [Reader(index) for index in indexes]
    for what, samples in {**_repeated(indexes), **_looks(known)}.items():
        yield f"<h2>{what}: {len(samples):,}</h2>"
        for sample in samples[:_SHOWN]:
            yield from _figure(readers[sample.split], known[sample.split], sample.number)


def _looks(known: Sequence[Measures]) -> dict[str, list[Sample]]:
    """Return the images that look odd by themselves."""
    sides = [np.minimum(one["width"], one["height"]) for one in known]
    there = np.concatenate([one[one > 0] for one in sides])
    small = float(np.median(there)) / _SMALL if len(there) else 0
    found: dict[str, list[Sample]] = {
        "Of a single colour": [],
        f"More than {_NARROW} times as long as wide": [],
        f"Smaller than {small:,.0f} pixels, of which others have {_SMALL} times as many": [],
    }
    for split, (one, side) in enumerate(zip(known, sides, strict=True)):
        is_narrow = np.maximum(one["width"], one["height"]) > _NARROW * side
        for samples, is_odd in zip(found.values(), (one["is_flat"], is_narrow, side < small), strict=True):
            samples += [Sample(split, int(number)) for number in np.flatnonzero(is_odd & (side > 0))]
    return found


def _repeated(indexes: Sequence[Index]) -> dict[str, list[Sample]]:
    """Return the images whose bytes stand under two classes, or in two splits; equal ones side by side."""
    rows = np.concatenate([index.members for index in indexes])
    split = np.repeat(np.arange(len(indexes)), [index.num_samples for index in indexes])
    number = np.concatenate([np.arange(index.num_samples) for index in indexes])
    order = np.lexsort((number, split, rows["crc32"], rows["size"]))
    rows, split, number = rows[order], split[order], number[order]
    is_same = (rows["crc32"][1:] == rows["crc32"][:-1]) & (rows["size"][1:] == rows["size"][:-1])
    group = np.concatenate([[0], np.cumsum(~is_same)])
    found = {}
    for what, value in (("classes", rows["label"]), ("splits", split)):
        pairs = np.flatnonzero(is_same & (value[1:] != value[:-1]))
        chosen = np.isin(group, group[pairs])
        places = zip(split[chosen].tolist(), number[chosen].tolist(), strict=True)
        found[f"The same bytes in two {what}"] = [Sample(*place) for place in places]
    return found


def _figure(reader: Reader, measured: Measures, number: int) -> Iterator[str]:
    index, facts = reader.index, measured[number]
    if facts["width"] == 0:
        return  # its shard isn't whole, or it can't be decoded
    image = Image.fromarray(Picture(reader.read(number).data).pixels())
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    label = int(index.labels[number])
    name = f" {index.classes[label]}" if index.classes else ""
    said = f"{index.split}: {reader.place(number)}; class {label}{name}; {facts['width']} x {facts['height']}"
    yield (
        f'<figure><img src="data:image/png;base64,{text}" alt="">'
        f"<figcaption>{escape(printable(said))}</figcaption></figure>"
    )


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield "<table>" + _row("th", head)
    for row in rows:
        yield _row("td", row)
    yield "</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(printable(cell))}</{tag}>" for cell in cells) + "</tr>"
