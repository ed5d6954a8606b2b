"""Archives byte for byte; what damage does to a shard as a whole is in test_shard.py."""

import io
import tarfile
from collections.abc import Callable

import pytest

from shards import tar
from shards.errors import ShardError

LONG = "folder/" + "n" * 200 + ".jpg"


def archive(form: int, *names: str, data: bytes = b"image") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as out:
        folder = tarfile.TarInfo("a folder")
        folder.type = tarfile.DIRTYPE
        out.addfile(folder)
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_of_an_archive_and_no_folders(form: int) -> None:
    names = ["a.jpg"] if form == tarfile.USTAR_FORMAT else ["a.jpg", LONG, "b.jpg"]
    data = archive(form, *names)
    found = list(tar.members(io.BytesIO(data).read, "x.tar"))
    assert [(member.name, member.size, member.data) for member in found] == [
        (name, 5, b"image") for name in names
    ]
    assert all(data[member.offset : member.offset + 5] == b"image" for member in found)


def test_large_files_can_be_passed_over() -> None:
    file = io.BytesIO(archive(tarfile.USTAR_FORMAT, "a.jpg", "b.jpg", data=b"i" * 600))
    passed: list[int] = []

    def skip(count: int) -> int:
        passed.append(count)
        return len(file.read(count))

    found = list(tar.members(file.read, "x.tar", skip))
    assert [(member.name, member.size, member.data) for member in found] == [
        ("a.jpg", 600, b""),
        ("b.jpg", 600, b""),
    ]
    assert passed == [1024, 1024]


def test_a_header_is_the_same_each_time() -> None:
    info = tarfile.TarInfo.frombuf(tar.header("a.jpg", 77), "utf-8", "strict")
    assert (info.name, info.size, info.mode, info.mtime, info.uid, info.uname) == (
        "a.jpg",
        77,
        0o644,
        0,
        0,
        "",
    )
    with pytest.raises(ShardError, match="shorten it"):
        tar.header("n" * 300, 1)


@pytest.mark.parametrize(("size", "zeros"), [(0, 0), (1, 511), (512, 0), (513, 511)])
def test_padding(size: int, zeros: int) -> None:
    assert tar.padding(size) == bytes(zeros)


@pytest.mark.parametrize(("position", "length"), [(0, 10240), (9216, 1024), (9728, 10752)])
def test_the_end_fills_a_record(position: int, length: int) -> None:
    assert tar.end(position) == bytes(length)
    assert (position + length) % tarfile.RECORDSIZE == 0


def cut(data: bytes) -> bytes:
    return data[:-10240]


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    ("damage", "said"),
    [(cut, r"x\.tar: truncated: no end-of-archive mark at byte 0"), (flipped, "bad header at byte 0")],
)
def test_damage_names_the_byte(damage: Callable[[bytes], bytes], said: str) -> None:
    data = damage(archive(tarfile.USTAR_FORMAT, "a.jpg"))
    with pytest.raises(ShardError, match=said) as caught:
        list(tar.members(io.BytesIO(data).read, "x.tar"))
    assert caught.value.offset == 0


HEADERS = [("a.jpg", 5), ("k" * 100, 0), ("k" * 96 + ".cls", 8**11 - 1), ("caf\udce9/ä.png", 110_000)]


@pytest.mark.parametrize(("name", "size"), HEADERS, ids=range(4))
def test_a_header_is_the_one_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    block = info.tobuf(tarfile.USTAR_FORMAT)
    assert tar.header(name, size) == block
    assert tar.read_header(block) == (name, tarfile.REGTYPE, size, "")


def test_each_flipped_bit_of_a_header_is_seen() -> None:
    for block in (
        tar.header("a.jpg", 5),
        tar.header(LONG[:99], 77),
        tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT),
    ):
        for bit in range(8 * tar.BLOCK):
            other = bytearray(block)
            other[bit // 8] ^= 1 << bit % 8
            try:
                theirs = tarfile.TarInfo.frombuf(bytes(other), "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                with pytest.raises(tarfile.HeaderError):
                    tar.read_header(bytes(other))
            else:
                ours = tar.read_header(bytes(other))
                assert ours == (theirs.name, theirs.type, theirs.size, theirs.linkname)
