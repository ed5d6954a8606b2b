"""The index of a billion samples: loaded and read in bounded memory. Its rows are zeros in a sparse file."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from shards import index
from shards.errors import ShardError
from shards.index import Index
from shards.order import Order
from shards.remote import Store
from shards.shard import MEMBER, Shard

SHARDS, SAMPLES = 100_000, 10_000


@pytest.fixture
def billion(tmp_path: Path) -> Index:
    """As `shards.index.save` leaves it, for shards that lie elsewhere."""
    shards = [Shard(f"x-train-{n:06d}.tar", SAMPLES, 10**9, f"{n:064x}") for n in range(SHARDS)]
    rows = np.lib.format.open_memmap(
        tmp_path / "index-train.npy", mode="w+", dtype=MEMBER, shape=(SHARDS * SAMPLES,)
    )
    rows[-1] = (1536, 100_000, 7, 99)
    rows.flush()
    sums = [zlib.crc32(np.zeros(SAMPLES, MEMBER).tobytes())] * (SHARDS - 1)
    record = {
        "version": index.VERSION,
        "split": "train",
        "fingerprint": index.fingerprint(shards),
        "row_sums": [*sums, zlib.crc32(rows[-SAMPLES:].tobytes())],
        "num_classes": 10,
        "classes": None,
        "shards": [asdict(shard) for shard in shards],
    }
    del rows
    (tmp_path / "index-train.json").write_text(json.dumps(record, indent=1))
    return Index.load(tmp_path, "train", Store("https://nowhere.invalid", tmp_path / "cache", 10**12))


def test_its_index_and_order_take_little_memory(billion: Index) -> None:
    folder, store = billion.folder, billion.store
    tracemalloc.start()
    loaded = Index.load(folder, "train", store)
    order = Order(loaded.shard_lengths, seed=1, window=16)
    began = time.perf_counter()
    samples = order.samples(2 * 10**9 + 123, 2 * 10**9 + 123 + 512)
    seconds = time.perf_counter() - began
    rows = loaded.members[samples]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert loaded.num_samples == 10**9
    assert len(rows) == 512
    assert kept < 100e6, "bytes"
    assert seconds < 0.5  # about 0.02 on a machine with nothing else to do
    assert loaded.members[-1].item() == (1536, 100_000, 7, 99)


def test_its_rows_are_checked_shard_by_shard(billion: Index) -> None:
    billion.check_rows(0)
    billion.check_rows(SHARDS - 1)
    with (billion.folder / "index-train.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    billion.check_rows(SHARDS - 2)
    with pytest.raises(ShardError, match=r"index-train.npy: missing or damaged"):
        billion.check_rows(SHARDS - 1)
