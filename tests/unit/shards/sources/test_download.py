import hashlib
from pathlib import Path

import pytest
from object_store import http

from shards.errors import ShardError
from shards.sources.download import download


def digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_it_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    data = bytes(range(256)) * 9000  # more than a chunk
    (tmp_path / "served" / "a").write_bytes(data)
    out = tmp_path / "a"
    with http(tmp_path / "served") as served:
        url = f"{served.url}/a"
        with pytest.raises(ShardError, match=f"{url}: has the MD5 {digest(data)}, not 00: try again later"):
            download(url, out, "00")
        assert not out.exists()
        download(url, out, digest(data))
    assert out.read_bytes() == data
    with pytest.raises(ShardError, match=f"{url}: can't be fetched"):
        download(url, tmp_path / "b", digest(data))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "served"]
