"""Shards that lie elsewhere: fetched from a real HTTP server and a real S3 server, kept within a limit."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from object_store import Folder, http

from shards import index, remote, shard
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.remote import Ahead, Store, fetch_index

COUNT, SAMPLES = 5, 4  # shards, samples in each


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Five shards of 20 KiB or more, and their index."""
    folder = tmp_path / "there"
    folder.mkdir()
    made = []
    for number in range(COUNT):
        entries = [
            shard.Entry(f"key{number}{n}", "jpg", bytes([number, n]) * 2000, n) for n in range(SAMPLES)
        ]
        made.append(shard.write(folder / f"x-train-{number:04d}.tar", entries))
    shards, members = zip(*made, strict=True)
    index.save(folder, "train", shards, members, classes=None, num_classes=SAMPLES)
    return folder


@pytest.fixture
def served(there: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    with http(there) as folder:
        yield folder


def reader(url: str, here: Path, shards: float = 10) -> Reader:
    """Of what is served, with a cache for so many shards."""
    fetch_index(url, here / "index", "train")
    size = max(one.bytes for one in Index.record(here / "index", "train").shards)
    store = Store(url, here / "cache", int(shards * size))
    return Reader(Index.load(here / "index", "train", store), open_files=2)


def all_right(found: Reader, numbers: Iterator[int] | range = range(COUNT * SAMPLES)) -> None:
    for sample in numbers:
        number, n = divmod(sample, SAMPLES)
        assert found.read(sample) == (bytes([number, n]) * 2000, n)


def cached(here: Path) -> list[Path]:
    return sorted((here / "cache").glob("*.tar"))


def test_each_shard_is_fetched_once_and_only_if_it_is_read(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path)
    all_right(found, iter([0, 1, SAMPLES]))
    assert len(cached(tmp_path)) == 2
    all_right(found)
    all_right(reader(served.url, tmp_path))
    assert {served.asked[f"x-train-{n:04d}.tar"] for n in range(COUNT)} == {1}


def test_what_was_used_last_stays(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path, shards=2.5)
    names = [f"{one.sha256}.tar" for one in found.index.shards]
    for number, present in ((0, {0}), (1, {0, 1}), (0, {0, 1}), (2, {0, 2}), (3, {2, 3}), (0, {3, 0})):
        found = reader(served.url, tmp_path, shards=2.5)  # with no file open
        all_right(found, iter([number * SAMPLES]))
        assert {path.name for path in cached(tmp_path)} == {names[n] for n in present}
    total = sum(path.stat().st_size for path in cached(tmp_path))
    assert total <= found.index.store.limit


@pytest.mark.parametrize("faults", [["busy"], ["cut"], ["busy", "cut", "cut", "busy"]])
def test_a_server_that_is_busy_or_cut_off(served: Folder, tmp_path: Path, faults: list[str]) -> None:
    found = reader(served.url, tmp_path)
    served.faults = [("0.tar", fault) for fault in faults]
    all_right(found)
    assert served.faults == []


def test_a_server_that_stays_busy_is_named(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path)
    served.faults = [("0.tar", "busy")] * 100
    with pytest.raises(
        ShardError, match=rf"{served.url}/x-train-0000.tar: can't be fetched .*, 6 times tried"
    ):
        found.read(0)
    assert cached(tmp_path) == []


def test_it_goes_on_with_what_an_ended_process_has_fetched(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path)
    one = found.index.shards[0]
    (tmp_path / "cache").mkdir()
    content = (served.folder / one.file).read_bytes()
    part = tmp_path / "cache" / f"{one.sha256}.{one.bytes}.part"
    part.write_bytes(content[:9000])
    all_right(found)
    part.write_bytes(b"wrong" + content[5:9000])  # of whom nobody knows; the digest shows it
    (tmp_path / "cache" / f"{one.sha256}.tar").unlink()
    all_right(reader(served.url, tmp_path))
    assert not list((tmp_path / "cache").glob("*.part"))


def test_what_a_killed_process_left_makes_room(served: Folder, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    left = tmp_path / "cache" / f"{'0' * 64}.{10**9}.part"
    left.write_bytes(b"")
    os.utime(left, (0, 0))
    all_right(reader(served.url, tmp_path, shards=2.5))
    assert not left.exists()


def test_another_shard_than_was_indexed_is_refused(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path)
    path = served.folder / "x-train-0000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(ShardError, match=f"x-train-0000.tar: has the digest {digest[:16]}, the index says"):
        found.read(0)
    path.unlink()
    with pytest.raises(ShardError, match=r"x-train-0000.tar: can't be fetched"):
        found.read(0)


def test_a_cache_smaller_than_a_shard_is_refused(served: Folder, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"data.cache_gb=.*: less than x-train-0000.tar with its"):
        reader(served.url, tmp_path, shards=0.5).read(0)


def test_no_index_there(served: Folder, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"/index-val.npy: can't be fetched .*: data.url must be the folder"):
        fetch_index(served.url, tmp_path / "index", "val")
    assert not (tmp_path / "index").exists()
    with pytest.raises(ShardError, match=r"data\.url=nonsense://x"):
        Store("nonsense://x", tmp_path, 10**9).open(Index.record(served.folder, "train").shards[0])


def _read_all(url: str, here: Path) -> None:
    for _ in range(3):
        all_right(reader(url, here, shards=2.5))


def test_processes_share_a_cache_that_is_too_small_for_all(served: Folder, tmp_path: Path) -> None:
    reader(served.url, tmp_path)  # the index
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_read_all, args=(served.url, tmp_path)) for _ in range(4)]
    for process in processes:
        process.start()
    cache = reader(served.url, tmp_path, shards=2.5).index.store
    assert cache is not None
    cache.cache.mkdir(exist_ok=True)
    while any(process.is_alive() for process in processes):
        with remote._locked(cache.cache / "room.lock"):
            assert sum(path.stat().st_size for path in cache.cache.glob("*.*")) <= cache.limit
        time.sleep(0.01)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(cached(tmp_path)) == 2
    assert not list((tmp_path / "cache").glob("*.part"))


def test_ahead_of_the_reader(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path)
    ahead = Ahead(found.index.store, found.index.shards)
    ahead.want([3, 1])
    ahead.want([1, 2])
    for number in (1, 2, 3):
        all_right(found, iter([number * SAMPLES]))
    asked = dict(served.asked)
    assert [asked.get(f"x-train-{n:04d}.tar", 0) for n in range(COUNT)] == [0, 1, 1, 1, 0]


@pytest.fixture
def bucket(there: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same folder in a bucket of moto's S3 server."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3")
    client.create_bucket(Bucket="pictures")
    for path in there.iterdir():
        client.upload_file(str(path), "pictures", f"sets/x/{path.name}")
    yield "s3://pictures/sets/x"
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_s3(bucket: str, tmp_path: Path) -> None:
    all_right(reader(bucket, tmp_path, shards=2.5))
    shutil.rmtree(tmp_path / "cache")
    all_right(reader(bucket, tmp_path))
    assert len(cached(tmp_path)) == COUNT


@pytest.mark.parametrize("name", ["index-train.npy", "index-train.json"])
def test_a_login_page_is_no_index(name: str, served: Folder, there: Path, tmp_path: Path) -> None:
    whole = (there / name).read_bytes()
    (there / name).write_text("<html>log in</html>")
    with pytest.raises(
        ShardError, match=f"{name}: what the server sends is no index but begins with b'<html>"
    ):
        fetch_index(served.url, tmp_path / "index", "train")
    assert not (tmp_path / "index" / name).exists()
    (tmp_path / "index").mkdir(exist_ok=True)
    (tmp_path / "index" / name).write_text("<html>log in</html>")  # as was kept before
    (there / name).write_bytes(whole)
    all_right(reader(served.url, tmp_path))


@pytest.mark.parametrize("ranges", ["", "none"])
@pytest.mark.parametrize("faults", [[], ["cut"], ["busy", "page", "cut"]])
def test_a_server_without_ranges(
    served: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: str, faults: list[str]
) -> None:
    monkeypatch.setattr(remote, "_CHUNK", 5000)  # of shards of 20 KiB
    served.ranges = ranges
    found = reader(served.url, tmp_path)
    served.faults = [("0.tar", fault) for fault in faults]
    all_right(found)
    assert served.faults == []


def test_pythons_own_server_and_a_shard_of_many_requests(tmp_path: Path) -> None:
    folder, data = tmp_path / "there", os.urandom(3 * remote._CHUNK)
    folder.mkdir()
    written = shard.write(folder / "x-train-0000.tar", [shard.Entry("key", "jpg", data, 0)])
    index.save(folder, "train", [written[0]], [written[1]], classes=None, num_classes=1)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = reader(f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
        assert found.read(0) == (data, 0)
        server.shutdown()


def test_a_page_instead_of_a_shard(served: Folder, tmp_path: Path) -> None:
    found = reader(served.url, tmp_path)
    served.faults = [("0.tar", "page")] * 2
    all_right(found)
    found = reader(served.url, tmp_path / "other")
    served.faults = [("0.tar", "page")] * 100
    with pytest.raises(ShardError, match="the server sends a page instead, b'<html>log in"):
        found.read(0)


def test_a_server_that_packs(served: Folder, tmp_path: Path) -> None:
    served.is_packing = True
    all_right(reader(served.url, tmp_path))


def test_an_address_that_is_signed(served: Folder, tmp_path: Path) -> None:
    served.query = "sig=a%2Bsecret%3D&se=2030"
    found = reader(f"{served.url}?{served.query}", tmp_path)
    all_right(found)
    served.query = "sig=other"
    with pytest.raises(ShardError, match=r"index-train\.npy: can't be fetched") as caught:
        reader(f"{served.url}?sig=a%2Bsecret%3D&se=2030", tmp_path / "other")
    assert "secret" not in str(caught.value)
