import gzip
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes

from shards.errors import ShardError
from shards.sources import idx


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (idx_bytes(np.zeros((2, 3), np.uint8)), "begins with 00000802, not with 00000801"),
        (b"\0\0\x09\x01\0\0\0\1x", "begins with 00000901, not with 00000801"),
        (b"\0\0\x08\x01\0", "begins with 00000801"),
        (idx_bytes(np.zeros(5, np.uint8))[:-1], r"has 12 bytes, 13 for \(5,\)"),
        (idx_bytes(np.zeros(5, np.uint8)) + b"x", r"has 14 bytes, 13 for \(5,\)"),
    ],
)
def test_idx_is_read_strictly(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ShardError, match=f"x: {message}.*get it again"):
        idx.read(tmp_path / "x", 1)


@pytest.mark.parametrize("cut", [5, 20, -1])
def test_damaged_gzip(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))
    (tmp_path / "x.gz").write_bytes(whole[:cut])
    with pytest.raises(ShardError, match=r"x\.gz: damaged"):
        idx.read(tmp_path / "x", 1)
