"""The bytes of a set whose source is plain never change: whoever has one can write it again."""

import hashlib
import struct
import zlib
from pathlib import Path

from shards import write

PINNED = "84b95631ef7b691771cc66302387f721b964feb824892cabb110303637a014da"


def png(shade: int) -> bytes:
    """Return a grey image of 3 x 2 pixels, stored, so that no version of a library changes its bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([shade, shade, shade])) * 2
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows
    data = stored + struct.pack(">I", zlib.adler32(rows))
    head = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_plain_source_gives_the_same_bytes(tmp_path: Path) -> None:
    for split, count in (("train", 7), ("val", 2)):
        for label, name in enumerate(("b", "a b", "ä")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{name}.{number} x.PNG").write_bytes(png(50 * label + number))
    out = tmp_path / "out"
    write.main(["imagefolder", str(tmp_path / "pets"), str(out), "--shard-samples=4", "--workers=1"])
    files = sorted([*out.glob("*.tar"), *out.glob("*.npy")])
    assert len(files) == 6 + 2 + 2
    content = b"".join(path.name.encode() + path.read_bytes() for path in files)
    assert hashlib.sha256(content).hexdigest() == PINNED
