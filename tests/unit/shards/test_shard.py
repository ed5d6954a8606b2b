"""Damage to a shard that common readers don't notice."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shards import shard, tar
from shards.errors import ShardError

Files = list[tuple[str, bytes]]

JPG, CLS = ("a.jpg", b"i"), ("a.cls", b"1")
OTHER_JPG, OTHER_CLS = ("b.jpg", b"i"), ("b.cls", b"1")


def archive(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three samples; headers at 0, 1024, 2048 ... 5120, the end-of-archive mark at 6144."""
    files = [(f"k{n}.{end}", text) for n in range(3) for end, text in (("jpg", b"image"), ("cls", b"1"))]
    return archive(tmp_path / "a.tar", files)


def test_writes_what_tarfile_writes(tmp_path: Path) -> None:
    entries = [shard.Entry(f"k{n}", "jpg", b"i" * n, n) for n in range(600)]
    ours, _ = shard.write(tmp_path / "ours.tar", entries)
    theirs = io.BytesIO()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for n in range(600):
            for name, data in ((f"k{n}.jpg", b"i" * n), (f"k{n}.cls", str(n).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
    assert (tmp_path / "ours.tar").read_bytes() == theirs.getvalue()
    assert ours.bytes == len(theirs.getvalue())


def test_scan_finds_what_was_written(tmp_path: Path) -> None:
    entries = [shard.Entry(f"k{n}", "png", b"%d" % n * n, n) for n in range(600)]
    written, rows = shard.write(tmp_path / "a.tar", entries)
    found, found_rows, *_ = shard.scan(tmp_path / "a.tar")
    assert found == written
    assert (found_rows == rows).all()


CUTS = [
    (100, "truncated: no end-of-archive mark at byte 0"),
    (700, "truncated: member 'k0.jpg' at byte 512 has 5 bytes, the file ends after 188 of them"),
    (514, "truncated: member 'k0.jpg' at byte 512 has 5 bytes, the file ends after 2 of them"),
    (1024, "truncated: no end-of-archive mark at byte 1024"),
    (2048, "truncated: no end-of-archive mark at byte 2048"),
    (2148, "truncated: no end-of-archive mark at byte 2048"),
    (6144, "truncated: no end-of-archive mark at byte 6144"),
    (6144 + 512, "truncated: no end-of-archive mark at byte 6144"),
]


@pytest.mark.parametrize(("size", "message"), CUTS)
def test_truncated(path: Path, size: int, message: str) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ShardError) as caught:
        shard.scan(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def flip(data: bytearray) -> None:
    data[2048 + 3] ^= 1


def zero_header(data: bytearray) -> None:
    data[2048:2560] = bytes(512)


def zero_two_blocks(data: bytearray) -> None:
    data[2048:3072] = bytes(1024)


def append(data: bytearray) -> None:
    data += bytes(data)


def negative_size(data: bytearray) -> None:
    header = data[2048:2560]
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[2048:2560] = header


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "bad header at byte 2048 (bad checksum)"),
        (zero_header, "zeros instead of a header at byte 2048"),
        (zero_two_blocks, "data after the end-of-archive mark at byte 2048"),
        (append, "data after the end-of-archive mark at byte 6144"),
        (negative_size, "bad header at byte 2048 (size -1)"),
    ],
)
def test_damaged_header(path: Path, damage: Callable[[bytearray], None], message: str) -> None:
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    with pytest.raises(ShardError) as caught:
        shard.scan(path)
    assert f"{path}: {message}" in str(caught.value)
    assert "copy or write this shard again" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([JPG, OTHER_JPG, OTHER_CLS], "sample 'a' at byte 512: holds a.jpg: a sample is one image"),
        ([JPG, CLS, OTHER_CLS], "sample 'b' at byte 2560: holds b.cls: a sample is one image"),
        ([JPG, ("a.png", b"i"), CLS], "holds a.jpg, a.png, a.cls: a sample is one image"),
        ([JPG, CLS, JPG, CLS], "holds a.jpg, a.cls, a.jpg, a.cls: a sample is one image"),
        ([JPG, CLS, OTHER_JPG, OTHER_CLS, JPG, CLS], "sample 'a' at byte 4608: this key stood before"),
        ([JPG, ("a.cls", b"cat")], "sample 'a' at byte 512: its .cls holds b'cat': must be a number"),
        ([JPG, ("a.cls", b"-1")], "its .cls holds b'-1': must be a number, 0 or more"),
        ([JPG, ("a.cls", b"")], "its .cls holds b''"),
    ],
)
def test_bad_samples(tmp_path: Path, files: Files, message: str) -> None:
    path = archive(tmp_path / "a.tar", files)
    with pytest.raises(ShardError) as caught:
        shard.scan(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_other_members_are_passed_over(tmp_path: Path) -> None:
    files = [("README", b"r"), ("a.json", b"{}"), ("a.JPG", b"i"), ("a.seg.png", b"s"), ("a.cls", b" 7\n")]
    found, rows, *_ = shard.scan(archive(tmp_path / "a.tar", files))
    assert found.samples == 1
    assert rows["label"].tolist() == [7]


def test_bad_extended_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = 9
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"9 path=ab".ljust(512, b"\0") + tar.end(1024))
    with pytest.raises(ShardError, match="byte 512: bad extended header"):
        shard.scan(path)


def test_key_too_long_to_write(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"no name for a member of a tar file .*: shorten it"):
        shard.write(tmp_path / "a.tar", [shard.Entry("k" * 300, "jpg", b"i", 0)])
    assert list(tmp_path.iterdir()) == []
