"""A download is the file that was published, or an error; nothing half is left."""

import hashlib
from pathlib import Path

import pytest
from object_store import http

from shards.errors import ShardError
from shards.sources.download import download

DATA = bytes(range(256)) * 10_000
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


def test_what_was_published_arrives(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "data").write_bytes(DATA)
    with http(tmp_path / "served") as served:
        download(f"{served.url}/data", tmp_path / "here", MD5)
    assert (tmp_path / "here").read_bytes() == DATA


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("cut", rf"has the MD5 \w+, not {MD5}: try again"), ("busy", r"can't be fetched \(HTTP Error 503: ")],
)
def test_nothing_else_is_taken(tmp_path: Path, fault: str, reason: str) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "data").write_bytes(DATA)
    with http(tmp_path / "served") as served:
        served.faults = [("data", fault)]
        with pytest.raises(ShardError, match=f"/data: {reason}"):
            download(f"{served.url}/data", tmp_path / "here", MD5)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"^http://127\.0\.0\.1:9/x: can't be fetched \(.*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "here", MD5)
