"""What an index has nothing of, which is no fault but should be known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shards.ignored import printable
from shards.index.index import Index


def absent(index: Index) -> Iterator[str]:
    """Yield a line about shards without samples, and one about classes without."""
    if empty := [shard.file for shard in index.shards if shard.samples == 0]:
        of = f"{len(empty):,} of {len(index.shards):,} shards"
        yield f"{index.split}: {of} hold no sample, say {printable(empty[0])}"
    there = np.unique(index.labels)
    if missing := index.num_classes - len(there):
        gaps = np.flatnonzero(there != np.arange(len(there)))
        first = int(gaps[0]) if len(gaps) else len(there)
        name = f" ({printable(index.classes[first])})" if index.classes else ""
        hint = "; they count from 0" if first == 0 and not index.classes else ""
        of = f"{missing:,} of {index.num_classes:,} classes"
        yield f"{index.split}: {of} have no sample, say {first}{name}{hint}"
