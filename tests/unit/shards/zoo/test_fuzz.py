"""Files that nobody thought of: each comes out right, or is named, or is refused with a word; no traceback.

Drawn and mutated by hypothesis: some with a fixed seed here, and ten minutes of new ones in `make soak`.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shards import index, verify
from shards.classes import read_names
from shards.command import explain
from shards.errors import ShardError
from shards.ignored import Ignored
from shards.index import Index
from shards.reader import Reader
from shards.sources.imagefolder import imagefolder
from shards.write import write

EXAMPLES = 60
SOAK_S = float(os.environ.get("FUZZ_S", "600"))
ODD = ["a", "b", "train", "x.y", ".hidden", "Thumbs.db", "a b", "..a", "a\n", "caf\udce9", "\u2028", "-rf",
       "*", "[a]", "a" * 90, "ä", "\udcff\udcfe", "'", "%s", "{}"]  # fmt: skip
LETTERS = st.characters(exclude_characters="/\0", max_codepoint=0x2FF, exclude_categories=["Cs"])
NAMES = st.one_of(
    st.sampled_from(ODD),
    st.text(LETTERS, min_size=1, max_size=12).filter(lambda name: name not in {".", ".."}),
)
ENDINGS = st.sampled_from(["jpg", "png", "cls", "JPG", "CLS", "json", "txt", "seg.png", "", "tif", "cls2"])
KINDS = st.sampled_from([tarfile.REGTYPE] * 12 + [tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, b"Z",
                         tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])  # fmt: skip
FORMS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
FIELDS = [
    (0, 100),
    (100, 8),
    (124, 12),
    (156, 1),
    (157, 100),
    (257, 8),
    (345, 155),
]  # start, size
VALUES = [b"77777777777", b"-1", b"\x80" + b"\xff" * 11, b"\x80" + b"\0" * 6 + b"\1" * 5, b"\xff" * 12,
          b"L", b"x", b"g", b"S"]  # fmt: skip
RECORDS = [b"path=a.jpg", b"path=", b"size=9", b"size=" + b"9" * 30, b"size=" + b"1" * 5000, b"size=-1",
           b"size=\xd9\xa3", b"linkpath=a", b"GNU.sparse.major=1", b"mtime=x", b"path=a\0b.jpg",
           b"path=\xff/\xfe.jpg"]  # fmt: skip
NO_RECORDS = [b"0 a=b\n", b"1" * 5000 + b" a=b\n", b"3 \nx=y", b"a", b"9 a=b", b"-1 a=b\n"]
JUNK = [b"", b"null", b"[]", b"0", b'"a"', b"{}", b"[" * 5000, b"\xff", b"1" * 5000, b"-1", b"NaN", b"[[]]",
        b"true", b"1e999", b'{"splits": {"train": {"filenames": ["x-train-0000.tar"]}}}']  # fmt: skip
Member = tuple[str, bytes, bytes]  # name, content or target of a link, kind


def image_of(label: int, number: int) -> bytes:
    return b"P6 1 1 255\nrgb of class %d, number %d" % (label, number)


def said(error: Exception) -> str:
    """The one line that a command would print. Anything without one is a fault of the program."""
    message = explain(error)
    assert message, repr(error)
    assert len(message.splitlines()) == 1 or "\n" not in message.strip(), message
    message.encode()
    return message


@st.composite
def samples(draw: st.DrawFn) -> list[Member]:
    """Members of whole samples, whose images tell their class."""
    keys = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    members = []
    for number, key in enumerate(keys):
        label = draw(st.sampled_from([111, 222]))
        parts = [
            (f"{key}.jpg", image_of(label, number), tarfile.REGTYPE),
            (f"{key}.cls", b"%d" % label, tarfile.REGTYPE),
        ]
        members += draw(st.permutations(parts))
    return members


@st.composite
def mutated(draw: st.DrawFn) -> list[Member]:
    """The same, with members doubled, dropped, moved, or joined by others."""
    members = draw(samples())
    for _ in range(draw(st.integers(0, 3))):
        at, to = draw(st.integers(0, len(members))), draw(st.integers(0, len(members)))
        change = draw(st.sampled_from(["drop", "double", "move", "add"]))
        if change == "add":
            kind = draw(KINDS)
            is_link = kind in {tarfile.LNKTYPE, tarfile.SYMTYPE}
            target = os.fsencode(draw(st.sampled_from([*(name for name, *_ in members), "nowhere"])))
            content = target if is_link else draw(st.binary(max_size=600))
            members.insert(at, (f"{draw(NAMES)}.{draw(ENDINGS)}".rstrip("."), content, kind))
        elif at < len(members):
            one = members[at] if change == "double" else members.pop(at)
            if change != "drop":
                members.insert(to, one)
    return members


def pack(members: list[Member], form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in {tarfile.LNKTYPE, tarfile.SYMTYPE}:
                info.linkname = os.fsdecode(content)
            elif kind in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def taken(folder: Path, ignored: Ignored | None = None) -> Index | None:
    """The index of a folder whose samples have all been read; None where it was refused."""
    try:
        made = index.build(folder, {}, workers=0, ignored=ignored)[0]
    except (ShardError, OSError) as error:
        said(error)
        with suppress(ShardError):
            verify.verify(folder, quick=True, workers=0)
        return None
    for quick in (True, False):
        faults, _ = verify.verify(folder, quick=quick, workers=0)
        assert all(str(fault).encode() and "can't be" not in fault.what for fault in faults)
        assert not quick or not [fault for fault in faults if fault.key], faults
    reader = Reader(made)
    for sample in range(made.num_samples):
        data, label = reader.read(sample)
        str(reader.place(sample)).encode()
        if (found := re.fullmatch(rb"P6 1 1 255\nrgb of class (\d+), number \d+", data)) and label in {
            111,
            222,
        }:
            assert int(found[1]) == label
    return made


def in_a_folder(check: Callable[[Path], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        check(folder)
    finally:
        shutil.rmtree(os.fsencode(folder))


def odd_members(draw: st.DataObject) -> None:
    """Number in is number out, and number named."""
    members = draw.draw(mutated())
    try:
        content = pack(members, draw.draw(FORMS))
    except (ValueError, UnicodeError):  # no such names in this form
        return

    def check(folder: Path) -> None:
        (folder / "x-train-0000.tar").write_bytes(content)
        ignored = Ignored()
        if (made := taken(folder, ignored)) is not None:
            folders = sum(kind == tarfile.DIRTYPE or name.endswith("/") for name, _, kind in members)
            assert 2 * made.num_samples + ignored.total == len(members) - folders, members

    in_a_folder(check)


def odd_bytes(draw: st.DataObject) -> None:
    """Bits that flip, blocks that are lost, doubled, or others."""
    try:
        data = bytearray(pack(draw.draw(samples()), draw.draw(FORMS)))
    except (ValueError, UnicodeError):
        return
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, max(len(data) - 1, 0)))
        change = draw.draw(st.sampled_from(["flip", "cut", "lose", "double", "header", "fill"]))
        block = at - at % 512
        if change == "flip" and data:
            data[at] ^= 1 << draw.draw(st.integers(0, 7))
        elif change == "cut":
            del data[at:]
        elif change == "lose":
            del data[block : block + 512]
        elif change == "double":
            data[block:block] = data[block : block + 512]
        elif change == "fill":
            data[block : block + 512] = draw.draw(st.binary(min_size=1, max_size=8)) * 64
        elif change == "header" and len(data) >= block + 512:
            field, size = draw.draw(st.sampled_from(FIELDS))
            text = draw.draw(st.one_of(st.binary(max_size=size), st.sampled_from(VALUES)))[:size]
            data[block + field : block + field + size] = text.ljust(size, b"\0")
            data[block + 148 : block + 156] = b" " * 8
            data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])

    def check(folder: Path) -> None:
        (folder / "x-train-0000.tar").write_bytes(data)
        taken(folder)

    in_a_folder(check)


def odd_pax(draw: st.DataObject) -> None:
    """Extended headers that hold anything."""
    records = draw.draw(st.lists(st.sampled_from(RECORDS), max_size=3))
    text = b"".join(b"%d %s\n" % (len(one) + 2 + len(str(len(one) + 4)), one) for one in records)
    if draw.draw(st.booleans()):
        text = draw.draw(st.sampled_from(NO_RECORDS))
    head = tarfile.TarInfo("pax")
    head.type, head.size = draw.draw(st.sampled_from([b"x", b"g", b"L", b"K"])), len(text)
    before = head.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512)

    def check(folder: Path) -> None:
        members = [("a.jpg", image_of(111, 0), tarfile.REGTYPE), ("a.cls", b"111", tarfile.REGTYPE)]
        (folder / "x-train-0000.tar").write_bytes(before + pack(members, tarfile.USTAR_FORMAT))
        taken(folder)

    in_a_folder(check)


def odd_records(draw: st.DataObject) -> None:
    """Indexes, names and lengths that are damaged: the samples stay what they were, or it is said."""
    name = draw.draw(st.sampled_from(["index-train.json", "index-train.npy", "_info.json"]))
    junk = draw.draw(st.sampled_from(JUNK))
    names = [str(number) for number in range(112)] if draw.draw(st.booleans()) else None

    def check(folder: Path) -> None:
        members = [("a.jpg", image_of(111, 0), tarfile.REGTYPE), ("a.cls", b"111", tarfile.REGTYPE)]
        (folder / "x-train-0000.tar").write_bytes(pack(members, tarfile.USTAR_FORMAT))
        index.build(folder, {}, workers=0, classes=names)
        content = (folder / name).read_bytes()
        at, to = (draw.draw(st.integers(0, len(content))) for _ in range(2))
        values: list[re.Match[bytes]] = list(re.finditer(rb'(?<=: )("[^"]*"|\d+|null|\[[^]]*\])', content))
        in_a_value = draw.draw(st.booleans())
        if values and in_a_value:
            found = draw.draw(st.sampled_from(values))
            content = content[: found.start()] + junk + content[found.end() :]
        else:
            content = junk if draw.draw(st.booleans()) else content[:at] + junk + content[to:]
        (folder / name).write_bytes(content)
        for use in (_read, _verify, taken):
            try:
                use(folder)
            except (ShardError, OSError) as error:
                said(error)

    in_a_folder(check)


def _read(folder: Path) -> None:
    reader = Reader(Index.load(folder, "train"))
    assert [reader.read(sample).label for sample in range(reader.index.num_samples)] == [111]


def _verify(folder: Path) -> None:
    verify.verify(folder, quick=False, workers=0)


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def odd_folders(draw: st.DataObject) -> None:
    """Every image has the class of the folder that it is in; every other entry is named."""
    classes = draw.draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    parts = st.sampled_from(["train", "train", "val", "other"])
    endings = st.sampled_from([".png", ".jpg", ".PNG", "", ".txt", ".csv", "/deep/er.png", ".webp"])
    paths = st.tuples(parts, st.sampled_from(classes), NAMES, endings)
    contents = st.sampled_from(["image"] * 6 + ["empty", "page", "cut", "link", "nowhere", "folder"])
    entries = draw.draw(st.lists(st.tuples(paths, contents), min_size=1, max_size=8))
    skip_bad = draw.draw(st.booleans())
    skip = draw.draw(st.sampled_from([(), ("*.csv",), ("other",), ("*",)]))
    names = draw.draw(st.sampled_from([None, "some", "all"]))

    def check(folder: Path) -> None:
        source = folder / "source"
        for part in ("train", "val"):
            for one in classes:
                (source / part / one).mkdir(parents=True)
                (source / part / one / "0.png").write_bytes(picture(classes.index(one)))
        for (part, one, name, ending), what in entries:
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError):
                _put(source / part / one / f"{name}{ending}", what, classes.index(one))
        listed = folder / "names.txt"
        listed.write_bytes(b"\n".join(map(os.fsencode, classes[:1] if names == "some" else classes[::-1])))
        ignored = Ignored(skip)
        try:
            found = imagefolder(source, ignored, None if names is None else read_names(listed))
            made = write(found, folder / "out", shard_samples=3, seed=0, workers=0, skip_bad=skip_bad)
        except (ShardError, OSError) as error:
            said(error)
            return
        for split in made:
            reader = Reader(split)
            for number in range(split.num_samples):
                data, label = reader.read(number)
                pixel = int(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[0, 0, 0])
                assert split.classes[label] == classes[pixel]
        assert sum(split.num_samples for split in made) + ignored.total == _entries(source, ignored)

    in_a_folder(check)


def _put(path: Path, what: str, label: int) -> None:
    if what == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if what in {"link", "nowhere"}:
        path.symlink_to(path.parent.parent / "0.png" if what == "link" else "nowhere")
    else:
        image = picture(label)
        path.write_bytes({"image": image, "empty": b"", "page": b"<html>", "cut": image[:40]}[what])


def _entries(source: Path, ignored: Ignored) -> int:
    """Files below a folder; one that a pattern names counts as one, whatever is in it."""
    again, count, folders = Ignored(ignored.skip), 0, [source]
    while folders:
        for entry in os.scandir(folders.pop()):
            is_named = again.names(str(Path(entry.path).relative_to(source)))
            if entry.is_dir() and not is_named:
                folders.append(Path(entry.path))
            else:
                count += 1
    return count


CHECKS = [odd_members, odd_bytes, odd_pax, odd_records, odd_folders]


def run(check: Callable[[Any], None], seed: int, examples: int) -> None:
    quiet = settings(max_examples=examples, deadline=None, database=None, print_blob=False,
                     suppress_health_check=list(HealthCheck))  # fmt: skip
    hypothesis.seed(seed)(quiet(given(st.data())(check)))()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_whatever_is_drawn(check: Callable[[Any], None]) -> None:
    run(check, seed=0, examples=EXAMPLES)


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_S + 600)
def test_ten_minutes_of_it() -> None:
    end = time.monotonic() + SOAK_S
    for seed in itertools.count(int(time.time())):
        for check in CHECKS:
            run(check, seed, examples=100)
        if time.monotonic() > end:
            print(f"the last seed: {seed}")
            return
