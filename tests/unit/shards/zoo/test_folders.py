"""Odd folders of images: what goes in comes out, or is named and counted, or all is refused with a word."""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards import index, shard, verify, write
from shards.decode import Picture
from shards.errors import ShardError
from shards.ignored import Ignored
from shards.index import Index
from shards.reader import Reader
from shards.sources.imagefolder import imagefolder

Evaluated = Callable[[Path], tuple[int, str]]
RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8))
WIDE = Image.fromarray(np.arange(54, dtype=np.uint16).reshape(6, 9) * 1200)
FLOAT = Image.fromarray(np.ones((6, 9), np.float32))
UNREADABLE = "not a readable image"


def encoded(kind: str, image: Image.Image | str = RGB, **options: Any) -> bytes:
    file = io.BytesIO()
    image = RGB.convert(image) if isinstance(image, str) else image
    image.save(file, kind, **options)
    return file.getvalue()


PNG, JPG = encoded("PNG"), encoded("JPEG")
# grey, of cjpeg -arithmetic
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZG"
    "NywtQFdBRkxOUlNSMj5aYVpQYEpRUk//yQALCAAGAAkBAREA/8wABgAQEAX/2gAIAQEAAD8A/wBoCXWLGBDYc//Z"
)


def of_kind(marker: int, bits: int = 8) -> bytes:
    """A JPEG whose frame says that it is of another kind."""
    place = JPG.index(b"\xff\xc0")
    return JPG[: place + 1] + bytes([marker]) + JPG[place + 2 : place + 4] + bytes([bits]) + JPG[place + 5 :]


SEVERAL: dict[str, Any] = {"save_all": True, "append_images": [RGB.rotate(180)]}


@dataclass(frozen=True)
class Odd:
    """What is put below a source of four images, beside train/a/0.png; `said` where it is refused.

    A path that ends in / is a folder; one with -> in it a symbolic link.
    """

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    taken: int = 0
    counted: int = 0
    said: str = ""
    skip: tuple[str, ...] = ()


def taken(name: str, data: bytes = PNG) -> Odd:
    return Odd(name, {f"train/a/{name}": data}, taken=1)


def refused(name: str, data: bytes, said: str = UNREADABLE) -> Odd:
    return Odd(f"{name} refused", {f"train/a/{name}": data}, said=said)


def counted(path: str, data: bytes = b"x", *skip: str) -> Odd:
    return Odd(f"{path} counted", {path: data}, counted=1, skip=skip)


IMAGES = {
    "rgb.jpg": JPG, "upper.JPG": JPG, "x.jpeg": JPG, "x.JPEG": JPG, "x.jfif": JPG,
    "grey.jpg": encoded("JPEG", "L"), "cmyk.jpg": encoded("JPEG", "CMYK"),
    "progressive.jpg": encoded("JPEG", progressive=True), "two.jpg": encoded("MPO", **SEVERAL),
    "one.png": encoded("PNG", "1"), "l.png": encoded("PNG", "L"), "la.png": encoded("PNG", "LA"),
    "p.png": encoded("PNG", "P"), "rgba.png": encoded("PNG", "RGBA"), "wide.png": encoded("PNG", WIDE),
    "clear.png": encoded("PNG", RGB.quantize(16), transparency=bytes(range(16))),
    "clear1.png": encoded("PNG", RGB.quantize(16), transparency=3),
    "anim.png": encoded("PNG", **SEVERAL),
    "x.gif": encoded("GIF"), "anim.gif": encoded("GIF", **SEVERAL),
    "clear.gif": encoded("GIF", RGB.quantize(16), transparency=3),
    "x.bmp": encoded("BMP"), "one.bmp": encoded("BMP", "1"), "l.bmp": encoded("BMP", "L"),
    "p.bmp": encoded("BMP", "P"),
    "x.tif": encoded("TIFF"), "x.tiff": encoded("TIFF", "L"), "cmyk.tif": encoded("TIFF", "CMYK"),
    "wide.tif": encoded("TIFF", WIDE), "rgba.tif": encoded("TIFF", "RGBA"),
    "packed.tif": encoded("TIFF", compression="tiff_lzw"),
    "x.ppm": encoded("PPM"), "x.pgm": encoded("PPM", "L"), "wide.pgm": encoded("PPM", WIDE),
    "x.webp": encoded("WEBP"), "lossless.webp": encoded("WEBP", lossless=True),
    "rgba.webp": encoded("WEBP", "RGBA"), "anim.webp": encoded("WEBP", **SEVERAL),
    "png in.jpg": PNG, "gif in.jpg": encoded("GIF"), "bmp in.jpg": encoded("BMP"),
    "arithmetic.jpg": ARITHMETIC,
    "tif in.png": encoded("TIFF"), "jpg in.webp": JPG,
}  # fmt: skip
DAMAGED = {
    "empty.jpg": b"", "empty.png": b"", "html.jpg": b"<html>404</html>", "zeros.png": bytes(500),
    "cut.jpg": JPG[: len(JPG) // 2], "cut.png": PNG[: len(PNG) // 2], "short.jpg": JPG[:3],
    "cut.gif": encoded("GIF")[:40], "cut.bmp": encoded("BMP")[:80], "cut.tif": encoded("TIFF")[:90],
    "cut.webp": encoded("WEBP")[:60], "cut.ppm": encoded("PPM")[:60], "head.png": PNG[:8],
    "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\nshowpage\n",
    "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>', "page.jpg": b"%PDF-1.4\n",
    "double.jpg": b"\0\5\x16\7" + bytes(200), "float.tif": encoded("TIFF", FLOAT),
}  # fmt: skip
RARE = {
    "12 bits.jpg": (of_kind(0xC1, 12), "12 bits a colour"), "lossless.jpg": (of_kind(0xC3), "lossless"),
    "lossless 16.jpg": (of_kind(0xC3, 16), "lossless, 16 bits a colour"),
    "ls.jpg": (of_kind(0xF7), "JPEG-LS"), "tower.jpg": (of_kind(0xC5), "hierarchical"),
}  # fmt: skip
NAMES = (
    "café 猫.png", "img.001.v2.png", "x" * 240 + ".png", "{0..3}.png", "a b\tc.png", "q'uo\"te.png",
    "new\nline.png", "%d.png", "-rf.png", "~.png", "0.jpg", "e\u0301.png", "caf\udce9.png",
    "\udcff\udcfe.png",
    "\x1b[31m.png", "\u202egnp.png", "trailing .png", "*.png", "[a].png", "$HOME.png", "a\\b.png", "#.png",
)  # fmt: skip
CLUTTER = (
    "train/a/.hidden.png", "train/a/._0.png", "train/a/.DS_Store", "train/a/Thumbs.db", "val/b/desktop.ini",
    "train/a/list.txt", "train/.DS_Store", "train/list.txt", ".gitignore", "README", "README.md", "LICENSE",
    "val/.nomedia", "train/a/sub/.hidden", "notes.txt",
)  # fmt: skip
LOST = {
    "boxes.csv": "boxes.csv", "train/labels.json": "labels.json", "train/a/0.xml": "0.xml",
    "train/a/noext": "noext", "train/a/0.jpe": "no image: .jpe", "train/stray.png": "not in a class folder",
    "val/stray.png": "not in a class folder", "stray.png": "not in a class folder",
    "train/a/0.png.part": "0.png.part", "train/a/pack.zip": "pack.zip", "test/a/0.png": "a folder beside",
    "train/a/sub/x.csv": "sub/x.csv", "train/b/0.svg": "no image: .svg", "caf\udce9.csv": r"caf\\xe9\.csv",
    "new\nline.csv": r"new\\nline\.csv",
}  # fmt: skip
FOLDERS = (
    Odd("nested", {"train/a/sub/1.png": PNG, "train/a/sub/deep/2.png": JPG}, taken=2),
    Odd("named like an image", {"train/a/dir.png/1.png": PNG}, taken=1),
    Odd("empty one within", {"train/a/sub/": b""}),
    Odd("hidden one", {".git/": b"", "train/.ipynb_checkpoints/": b""}, counted=2),
    Odd("of macOS", {"train/__MACOSX/": b""}, counted=1),
    Odd("class without images", {"train/c/": b"", "val/c/": b""}, said="train/c: holds no images"),
    Odd("class of one split", {"train/c/0.png": PNG}, said="1 classes are in train but not in val, say 'c'"),
    Odd("class skipped", {"train/c/0.png": PNG}, counted=1, skip=("train/c",)),
    Odd("two forms", {"train/\xe9/0.png": PNG, "val/e\u0301/0.png": PNG}, said="in another Unicode form"),
    Odd("latin-1 class", {"train/caf\udce9/0.png": PNG, "val/caf\udce9/0.png": PNG}, taken=2),
    Odd("dead link", {"train/a/1.png->/nonexistent": b""}, said=r"train/a/1\.png \(a link to nothing\)"),
    Odd("dead class", {"train/c->/nonexistent": b""}, said=r"train/c \(a link to nothing\)"),
    Odd("linked image", {"train/a/1.png->0.png": b""}, taken=1),
    Odd("linked class", {"train/c->a": b"", "val/c->a": b""}, taken=2),
    Odd("link to itself", {"train/a/l->l": b""}, said=r"train/a/l \(a link to nothing\)"),
    Odd("class that is a link to itself", {"train/l->l": b""}, said=r"train/l \(a link to nothing\)"),
    Odd("circle", {"train/a/back->../a": b""}, said="a link that leads back"),
    Odd("skipped image", {"train/a/bad.png": b"damaged"}, counted=1, skip=("bad.png",)),
    Odd("pattern of nothing", {}, skip=("nothing*",)),
)
ZOO = [
    *(taken(name, data) for name, data in IMAGES.items()),
    *(refused(name, data) for name, data in DAMAGED.items()),
    *(
        refused(name, data, rf"\(a JPEG of a rare kind, {said}: save it as a baseline JPEG of 8 bits\)")
        for name, (data, said) in RARE.items()
    ),
    *(taken(name) for name in NAMES),
    *(counted(path) for path in CLUTTER),
    *(
        Odd(f"{path} lost", {path: b"x"}, said=f"1 entries would be lost.*{said}")
        for path, said in LOST.items()
    ),
    *FOLDERS,
]


def made(folder: Path, odd: Odd) -> Path:
    source = folder / "zoo"
    plain = {f"{split}/{name}/0.png": PNG for split in ("train", "val") for name in "ab"}
    for path, data in {**plain, **odd.files}.items():
        name, arrow, target = path.partition("->")
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            (source / name).symlink_to(target)
        elif name.endswith("/"):
            (source / name).mkdir(parents=True, exist_ok=True)
        else:
            (source / name).write_bytes(data)
    return source


def test_it_is_large_and_every_name_is_its_own() -> None:
    assert len({odd.name for odd in ZOO}) == len(ZOO) > 120


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a hundred folders that nobody keeps


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("odd", ZOO, ids=lambda odd: ascii(odd.name)[1:40])
def test_what_goes_in_comes_out_or_is_named(odd: Odd, tmp_path: Path, evaluated: Evaluated) -> None:
    source, out = made(tmp_path, odd), tmp_path / "out"

    def written() -> list[Index]:
        found = imagefolder(source, Ignored(odd.skip))
        assert found.ignored.total == odd.counted
        return write.write(found, out, shard_samples=100, seed=0, workers=0)

    if odd.said:
        refuse(written, odd.said)
        assert not list(out.glob("index-*"))
        return
    assert sum(split.num_samples for split in written()) == 4 + odd.taken
    again = index.build(out, {}, workers=0)
    faults, whole = verify.verify(out, quick=False, workers=0)
    assert not faults
    assert sum(contents.shard.samples for contents in whole.values()) == 4 + odd.taken
    for split in again:
        reader = Reader(split)
        for sample in range(split.num_samples):
            assert Picture(reader.read(sample).data).pixels().shape == (6, 9, 3)
    validated, _ = evaluated(out)
    index.build(out, {"train": "*-val-*.tar", "val": "*-train-*.tar"}, workers=0)  # the other way round
    assert validated + evaluated(out)[0] == 4 + odd.taken


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("name", DAMAGED)
def test_an_evaluation_names_what_it_can_not_read(name: str, tmp_path: Path, evaluated: Evaluated) -> None:
    plain, rows = shard.write(tmp_path / "x-train-0000.tar", [shard.Entry("plain", "png", PNG, 0)])
    index.save(tmp_path, "train", [plain], [rows], classes=None, num_classes=2)
    suffix = name.rpartition(".")[2]
    entries = [shard.Entry("good", "png", PNG, 0), shard.Entry("odd", suffix, DAMAGED[name], 1)]
    made, members = shard.write(tmp_path / "x-val-0000.tar", entries)
    index.save(tmp_path, "val", [made], [members], classes=None, num_classes=2)
    samples, said = evaluated(tmp_path)
    assert samples == 0
    what = r"x-val-0000\.tar: key odd at byte \d+: no image.*: replace it, or leave it out with: (.*)"
    found = re.search(what, said)
    assert found is not None, said
    (fault,) = verify.verify(tmp_path, quick=False, workers=0)[0]
    assert fault.key == "odd"
    assert fault.what.endswith(found[1])
    _, _, command, *words = shlex.split(found[1])  # as both say
    assert command == "shards.index"
    index.main([*words, "--workers=1"])
    assert evaluated(tmp_path)[0] == 1
    assert not verify.verify(tmp_path, quick=False, workers=0)[0]


def refuse(written: Callable[[], object], said: str) -> None:
    with pytest.raises(ShardError, match=said) as caught:
        written()
    assert str(caught.value).isprintable()  # one line, for any terminal
