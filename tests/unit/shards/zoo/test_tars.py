"""Odd tar files, as other programs pack them: all comes out, or is named, or all is refused with a word."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards import index, shard, verify, workers
from shards.errors import ShardError
from shards.ignored import Ignored
from shards.index import tars
from shards.reader import Reader

LONG = "d" * 120 + "/" + "e" * 60 + "_"
Member = tuple[str, bytes | str, bytes]  # name, content or what it is a link to, kind


def sample(key: str, label: int = 0, image: str = "jpg", cls: str = "cls") -> list[Member]:
    data = b"P6 1 1 255\nrgb image of " + os.fsencode(key)
    return [(f"{key}.{image}", data, tarfile.REGTYPE), (f"{key}.{cls}", b"%d" % label, tarfile.REGTYPE)]


def file(name: str, data: bytes = b"P6 1 1 255\nrgb") -> Member:
    return name, data, tarfile.REGTYPE


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> Member:
    return name, target, kind


def pack(members: list[Member], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(content, str):
                info.linkname, data = content, b""
            else:
                info.size, data = len(content), content
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass(frozen=True)
class Odd:
    """The content of x-train-0000.tar; which keys come out of it, in order; `said` where it is refused."""

    name: str
    data: bytes
    keys: tuple[str, ...] = ()
    counted: int = 0
    said: str = ""
    skip: tuple[str, ...] = ()


def about(kind: bytes, *records: str) -> bytes:
    """An extended header, with records of its own length."""
    lines = [f"{len(one) + 4} {one}\n" for one in records]
    info = tarfile.TarInfo("about")
    info.type, info.size = kind, len(text := "".join(lines).encode())
    return info.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512)


TWO = [*sample("a", 1), *sample("b", 2)]
LONGS = [member for n in range(3) for member in sample(f"{LONG}{n}", n)]
ZOO = [
    Odd("plain", pack(TWO), ("a", "b")),
    Odd("with ./", pack([*sample("./a", 1), *sample("./b", 2)]), ("./a", "./b")),
    Odd("ustar", pack(TWO, tarfile.USTAR_FORMAT), ("a", "b")),
    Odd("pax", pack(TWO, tarfile.PAX_FORMAT), ("a", "b")),
    Odd("long, gnu", pack(LONGS), tuple(f"{LONG}{n}" for n in range(3))),
    Odd("long, pax", pack(LONGS, tarfile.PAX_FORMAT), tuple(f"{LONG}{n}" for n in range(3))),
    Odd("latin-1", pack(sample("caf\udce9", 1)), ("caf\udce9",)),
    Odd("latin-1, pax", pack(sample("caf\udce9", 1), tarfile.PAX_FORMAT), ("caf\udce9",)),
    Odd("hard links", pack([*TWO, link("c.jpg", "a.jpg"), link("c.cls", "b.cls")]), ("a", "b", "c")),
    Odd("hard links with ./", pack([*sample("./a", 1), link("./c.jpg", "a.jpg"), file("./c.cls", b"1")]),
        ("./a", "./c")),
    Odd("hard links, long", pack([*LONGS, link("c.jpg", f"{LONG}0.jpg"), file("c.cls", b"7")]),
        (*(f"{LONG}{n}" for n in range(3)), "c")),
    Odd("hard links, long, pax",
        pack([*LONGS, link("c.jpg", f"{LONG}0.jpg"), file("c.cls", b"7")], tarfile.PAX_FORMAT),
        (*(f"{LONG}{n}" for n in range(3)), "c")),
    Odd("hard link to nothing", pack([*TWO, link("c.jpg", "gone.jpg")]), said="a hard link to 'gone.jpg'"),
    Odd("symbolic link", pack([*TWO, link("c.jpg", "a.jpg", tarfile.SYMTYPE)]), said="tar --dereference"),
    Odd("symbolic link skipped", pack([*TWO, link("c.jpg", "/a.jpg", tarfile.SYMTYPE)]), ("a", "b"), 1,
        skip=("c.*",)),
    Odd("FIFO", pack([*TWO, link("c.jpg", "", tarfile.FIFOTYPE)]), said=r"c\.jpg \(a FIFO\)"),
    Odd("device", pack([*TWO, link("null", "", tarfile.CHRTYPE)]), said=r"null \(a device\)"),
    Odd("volume", pack([link("label", "", b"V"), *TWO]), said="the label of a volume"),
    Odd("unknown type", pack([*TWO, link("c", "", b"Z")]), said="of the unknown type b'Z'"),
    Odd("folders", pack([link("f", "", tarfile.DIRTYPE), *sample("f/a", 1)]), ("f/a",)),
    Odd("sparse", pack([*TWO, link("c.jpg", "", tarfile.GNUTYPE_SPARSE)]), said="without --sparse"),
    Odd("dots in some", pack([*TWO, *sample("img.000"), *sample("img.001")]), said="ends at the first dot"),
    Odd("dots in some, skipped", pack([*TWO, *sample("img.000")]), ("a", "b"), 2, skip=("img.*",)),
    Odd("dots in all", pack([*sample("img.000"), *sample("img.001")]), said="4 entries would be lost"),
    Odd("input and outputs", pack([file("a.input.jpg"), file("a.outputs.cls", b"1")]), said="2 entries"),
    Odd("other parts", pack([*TWO[:2], file("a.json"), file("a.seg.png"), *TWO[2:]]), ("a", "b"), 2),
    Odd("a part of nothing", pack([*TWO, file("c.json")]), said=r"c\.json .*--skip c\.json"),
    Odd("captions", pack([*TWO, file("a.txt"), file("b.txt")]), ("a", "b"), 2),
    Odd("of macOS", pack([file("._a.jpg"), *TWO[:1], file("__MACOSX/._a.cls"), *TWO[1:]]), ("a", "b"), 2),
    Odd("hidden", pack([*TWO, file(".DS_Store"), file("f/.cache/x.jpg")]), ("a", "b"), 2),
    Odd("README", pack([*TWO, file("README.md"), file("LICENSE")]), ("a", "b"), 2),
    Odd("other images", pack([*sample("a", 1, "bmp"), *sample("b", 2, "GIF"), *sample("c", 3, "TIFF")]),
        ("a", "b", "c")),
    Odd("upper case", pack(sample("a", 1, "JPEG", "CLS")), ("a",)),
    Odd("neither", pack([*TWO, file("c.jpe"), file("c.label")]), said="2 entries would be lost"),
    Odd("no class", pack([*TWO, file("c.jpg")]), said="holds c.jpg: a sample is one image"),
    Odd("no image", pack([*TWO, file("c.cls", b"1")]), said="holds c.cls: a sample is one image"),
    Odd("apart", pack([TWO[0], TWO[2], TWO[1], TWO[3]]), said="holds a.jpg: a sample is one image"),
    Odd("appended", pack([*TWO, *sample("a", 1)]), said="'a' at byte .*: this key stood before"),
    *(Odd(f"label {label!r}", pack([file("a.jpg"), file("a.cls", label)]), ("a",))
      for label in (b"1\n", b"1\r\n", b" 1", b"0001")),
    *(Odd(f"label {label!r}", pack([file("a.jpg"), file("a.cls", label)]), said="must be a number")
      for label in (b"1.0", b"-1", b"+1", b"\xef\xbb\xbf1", b"cat", b"[1]", b"", b"1" * 20)),
    *(Odd(f"label {label!r}", pack([file("a.jpg"), file("a.cls", label)]), said="must be a number")
      for label in (b"1\0", b"1 2", b"0x1", b"1_0", b"\xd9\xa3", b'{"label": 1}',
                    b"1" + b" " * 39 + b"2", b"1" + b" " * 600, "1".encode("utf-16"), b"1e3", b"\xc2\xa01")),
    Odd("half an end", pack(TWO)[:9 * 512], said="truncated: no end-of-archive mark at byte 4096"),
    Odd("no end", pack(TWO)[:8 * 512], said="truncated: no end-of-archive mark at byte 4096"),
    Odd("a mask", pack([file("a.jpg"), file("a.mask.png"), file("a.cls", b"1")]), ("a",), 1),
    Odd("two images", pack([*TWO[:1], file("a.png"), *TWO[1:]]), said="holds a.jpg, a.png, a.cls"),
    Odd("a name that ends in a space", pack([file("a.jpg "), file("a.cls", b"1")]), said="holds a.cls"),
    Odd("a name that ends in a dot", pack([file("a.jpg."), file("a.cls", b"1")]), said="holds a.cls"),
    Odd("one name in three ways", pack([*sample("a", 1), *sample("./a", 2), *sample("/.//a", 3)]),
        said=r"'\./a' at byte 2560: this key stood before"),
    Odd("gzip", gzip.compress(pack(TWO)), said="is no tar but gzip"),
    Odd("HTML", b"<!DOCTYPE html>".ljust(1024, b" "), said="is no tar but HTML"),
    Odd("lz4", b"\x04\x22\x4d\x18".ljust(1024, b" "), said="is no tar but lz4: .* unpack it with unlz4"),
    Odd("Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", said="git lfs pull"),
    Odd("zip", b"PK\3\4".ljust(1024, b" "), said="is no tar but a zip archive"),
    Odd("empty", b"", said="truncated: no end-of-archive mark at byte 0"),
    Odd("joined", pack(TWO) + pack(TWO), said="archives joined together"),
    Odd("a line more", pack(TWO) + b"\n", said="data after the end-of-archive mark"),
    Odd("many zeros more", pack(TWO) + bytes(30_000), ("a", "b")),
    Odd("of git archive", about(b"g", "comment=0123456789") + pack(TWO), ("a", "b")),
    *(Odd(f"all with {one}", about(b"g", one) + pack(TWO), said="gives all files one name or size")
      for one in ("path=same.jpg", "size=90000", "GNU.sparse.major=1")),
    *(Odd(f"{kind!r} of nothing", pack(TWO)[:8 * 512] + about(kind, "path=gone.jpg") + bytes(1024),
          said="a header at the end, byte 5120, of a file that isn't there") for kind in (b"x", b"L")),
    Odd("zeros", bytes(20480), said="nothing but zeros, as of a copy that broke off"),
    Odd("7-Zip", b"7z\xbc\xaf\x27\x1c".ljust(1024, b" "), said="no tar file, or damaged from its first byte"),
    Odd("absolute", pack([*sample("/etc/a", 1), *sample("../b", 2)]), ("/etc/a", "../b")),
    Odd("two cases", pack([*sample("a", 1), *sample("A", 2)]), ("a", "A")),
    Odd("two forms", pack([*sample("\xe9", 1), *sample("e\u0301", 2)]), ("\xe9", "e\u0301")),
    Odd("one sample in two forms", pack([sample("\xe9")[0], sample("e\u0301")[1]]), said="is one image"),
    Odd("folders with dots", pack(sample("v1.0/x.y/a", 1)), ("v1.0/x.y/a",)),
    Odd("contiguous", pack([(name, data, tarfile.CONTTYPE) for name, data, _ in TWO]), ("a", "b")),
    Odd("Solaris' headers", pack([link("f", "", b"X"), *TWO]), said="unknown type b'X'"),
]  # fmt: skip
FILES = {
    "x-train-0001.tar.gz": r"tar\.gz \(compressed, or not whole\)", "x-train-0001.tgz": "compressed",
    "x-train-0001.TAR": "must end in .tar, in small letters", "x-train-0001.tar.part": "not whole",
    "x-train-0001.tar.tmp": "not whole", "x-train-0002.tar": r"0001\.tar \(missing, though the numbers",
    "x-test-0000.tar": "in no split", "image.jpg": "no tar file", "train/": "a folder",
    "x-train-0001.tar->gone": "a link to nothing",
}  # fmt: skip


def made(folder: Path, data: bytes) -> Path:
    (folder / "x-train-0000.tar").write_bytes(data)
    (folder / "x-val-0000.tar").write_bytes(pack(sample("v")))
    return folder


@pytest.mark.parametrize("odd", ZOO, ids=lambda odd: odd.name)
def test_what_goes_in_comes_out_or_is_named(
    odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: Callable[[Path], tuple[int, str]]
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    folder, ignored = made(tmp_path, odd.data), Ignored(odd.skip)
    if odd.said:
        with pytest.raises(ShardError, match=odd.said) as caught:
            index.build(folder, {}, workers=0, ignored=ignored)
        assert str(caught.value).isprintable()
        assert not list(folder.glob("index-*"))
        return
    train, _ = index.build(folder, {}, workers=0, ignored=ignored)
    assert ignored.total == odd.counted
    reader = Reader(train)
    assert tuple(reader.key(n) for n in range(train.num_samples)) == odd.keys
    for quick in (False, True):
        faults, whole = verify.verify(folder, quick=quick, workers=0)
        assert not faults
        assert whole["x-train-0000.tar"].ignored.total == odd.counted
    other_way_round = {"train": "x-val-*.tar", "val": "x-train-*.tar"}
    index.build(folder, other_way_round, workers=0, ignored=Ignored(odd.skip))
    assert evaluated(folder)[0] == train.num_samples
    with tarfile.open(fileobj=io.BytesIO(odd.data)) as archive:
        files = sum(not member.isdir() for member in archive)
    assert files == 2 * train.num_samples + odd.counted


@pytest.mark.parametrize("name", FILES)
def test_files_beside_the_shards(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path, pack(TWO))
    file, arrow, target = name.partition("->")
    if arrow:
        (folder / file).symlink_to(target)
    elif name.endswith("/"):
        (folder / name).mkdir()
    else:
        shard.write(folder / name, [shard.Entry("new", "jpg", b"i", 0)])
    with pytest.raises(ShardError, match=f"1 entries would be lost.*{FILES[name]}") as caught:
        index.build(folder, {}, workers=0)
    skip = str(caught.value).rpartition("--skip ")[2]
    ignored = Ignored([skip])
    index.build(folder, {}, workers=0, ignored=ignored)  # as the message says
    assert ignored.total == 1
    assert not verify.verify(folder, quick=True, workers=0)[0]


def test_shards_and_classes_without_samples_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (verify, tars):
        monkeypatch.setattr(module, "run", lambda function, tasks, _: workers.run(function, tasks, 0))
    folder = made(tmp_path, pack([*sample("a", 1), *sample("b", 3)]))
    for number in (1, 2):  # alike, to the byte
        (folder / f"x-train-000{number}.tar").write_bytes(bytes(tarfile.RECORDSIZE))
    said = [
        "train: 2 of 3 shards hold no sample, say x-train-0001.tar",
        "train: 2 of 4 classes have no sample, say 0; they count from 0",
        "val: 3 of 4 classes have no sample, say 1",
    ]
    for command in (index.main, verify.main):
        command([str(folder), "--workers=1"])
        told = capsys.readouterr()
        assert [line for line in (told.out + told.err).splitlines() if " no sample" in line] == said
    (folder / "x-val-0000.tar").write_bytes(bytes(tarfile.RECORDSIZE))
    (folder / "_info.json").unlink()
    with pytest.raises(ShardError, match="split 'val' has no samples: copy or write its shards again"):
        index.build(folder, {}, workers=0)


def test_a_key_in_two_shards_by_two_names(tmp_path: Path) -> None:
    folder = made(tmp_path, pack(sample("f/a", 1)))
    (folder / "x-train-0001.tar").write_bytes(pack(sample("./f//a", 2)))
    with pytest.raises(ShardError, match="1 keys stand in two shards"):
        index.build(folder, {}, workers=0)


def test_data_of_a_hard_link_are_those_of_its_file(tmp_path: Path) -> None:
    large = b"i" * 2000
    folder = made(tmp_path, pack([file("a.jpg", large), file("a.cls", b"1"), link("b.jpg", "a.jpg"),
                                  link("b.cls", "a.cls")]))  # fmt: skip
    train, _ = index.build(folder, {}, workers=0)
    assert [Reader(train).read(n) for n in range(2)] == [(large, 1)] * 2
