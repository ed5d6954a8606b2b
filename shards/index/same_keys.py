"""Keys that stand in two shards: caches and other readers take the one sample for the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from shards.shard import Contents


class Pair(NamedTuple):
    """Two samples of one key: shard and row of each."""

    file: str
    row: int
    other: str
    other_row: int


def pairs(contents: Mapping[str, Contents]) -> list[Pair]:
    """Return the samples whose key stands in a shard before, in the order of the shards' names."""
    names = sorted(contents)
    if not names:
        return []
    keys = np.concatenate([contents[name].keys for name in names])
    lengths = [len(contents[name].keys) for name in names]
    owners, rows = np.repeat(np.arange(len(names)), lengths), np.concatenate([*map(np.arange, lengths)])
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    found = zip(np.sort(order[same + 1]), order[same][np.argsort(order[same + 1])], strict=True)
    return [
        Pair(names[owners[at]], int(rows[at]), names[owners[before]], int(rows[before]))
        for at, before in found
    ]
