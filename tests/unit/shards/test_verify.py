"""Every kind of damage to a set of shards is found, and named by shard, key and byte."""

import json
import random
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from shards import command, shard, verify
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.tar import BLOCK

SAMPLES, SHARDS = 6, 3  # of each shard, of the split train

Images = set[tuple[int, bytes, int]]  # number, image, class


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards to train on and one to validate with; images of 700 to 1,300 bytes of any value."""
    from shards import index

    folder = tmp_path_factory.mktemp("verified")
    draw = random.Random(0)
    number = iter(range(10**6))

    def entries(count: int) -> Iterator[shard.Entry]:
        for key in (f"key{next(number):04d}" for _ in range(count)):
            width = draw.randrange(230, 430)
            data = b"P6 %d 1 255\n" % width + draw.randbytes(3 * width)
            yield shard.Entry(key, "ppm", data, draw.randrange(10))

    for split, count in (("train", SHARDS), ("val", 1)):
        made = [shard.write(folder / f"x-{split}-{n:04d}.tar", entries(SAMPLES)) for n in range(count)]
        shards, members = zip(*made, strict=True)
        index.save(folder, split, shards, members, classes=None, num_classes=10)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "shards"))


def faults(folder: Path, quick: bool = False) -> list[verify.Fault]:
    return verify.verify(folder, quick=quick, workers=0)[0]


# ---- damage: each changes a folder, and returns whether the structure shows it


def cut(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    return True


def flip_in_header(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    place = draw.choice(_headers(path)) + draw.randrange(345)  # what the checksum is over, and USTAR reads
    return _flip(path, place, draw)


def flip_in_image(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    row = draw.choice(shard.scan(path).members.tolist())
    _flip(path, row[0] + draw.randrange(row[1]), draw)
    return False


def zero_a_header(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    start = draw.choice(_headers(path))
    _write(path, start, bytes(BLOCK))
    return True


def without_a_member(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    content, starts = path.read_bytes(), [*_headers(path), None]
    place = draw.randrange(len(starts) - 1)
    end = starts[place + 1]
    rest = content[end:] if end is not None else content[-10240:]
    path.write_bytes(content[: starts[place]] + rest)
    return True


def a_sample_fewer(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    content, starts = path.read_bytes(), _headers(path)
    place = 2 * draw.randrange(SAMPLES - 1)
    path.write_bytes(content[: starts[place]] + content[starts[place + 2] :])
    return True


def a_key_twice(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    content, starts = path.read_bytes(), _headers(path)
    path.write_bytes(content[: starts[2]] + content[: starts[2]] + content[starts[2] :])
    return True


def swapped(folder: Path, draw: random.Random) -> bool:
    one, other = draw.sample(sorted(folder.glob("*.tar")), 2)
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    return True


def foreign(folder: Path, draw: random.Random) -> bool:
    shutil.copy(_one(folder, draw), folder / "other.tar")
    return True


def missing(folder: Path, draw: random.Random) -> bool:
    _one(folder, draw).unlink()
    return True


def longer(folder: Path, draw: random.Random) -> bool:
    path = _one(folder, draw)
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randrange(1, 2000)))
    return True


def another_file(folder: Path, draw: random.Random) -> bool:
    Image.new("RGB", (30, 30)).save(_one(folder, draw), "jpeg")
    return True


def _one(folder: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(folder.glob("*.tar")))


def _headers(path: Path) -> list[int]:
    """Where the headers of a whole shard begin."""
    rows = shard.scan(path).members
    starts = []
    for offset, size in zip(rows["offset"].tolist(), rows["size"].tolist(), strict=True):
        starts += [offset - BLOCK, offset + size + -size % BLOCK]
    return starts


def _flip(path: Path, place: int, draw: random.Random) -> bool:
    byte = path.read_bytes()[place]
    _write(path, place, bytes([byte ^ 1 << draw.randrange(8)]))
    return True


def _write(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


DAMAGE: list[Callable[[Path, random.Random], bool]] = [
    *(cut, flip_in_header, flip_in_image, zero_a_header, without_a_member, a_sample_fewer),
    *(a_key_twice, swapped, foreign, missing, longer, another_file),
]
SEEDS = 84  # of each kind: 1,008 in all


@pytest.mark.parametrize("damage", DAMAGE)
def test_it_is_found_and_no_wrong_image_is_read(
    damage: Callable[[Path, random.Random], bool], written: Path, tmp_path: Path
) -> None:
    images = {split: _images(written, split) for split in ("train", "val")}
    for seed in range(SEEDS):
        folder = Path(shutil.copytree(written, tmp_path / str(seed)))
        shows = damage(folder, random.Random(seed))
        found = faults(folder)
        assert found, seed
        assert all((folder / fault.file).name == fault.file for fault in found)
        if shows:
            assert faults(folder, quick=True), seed
        for split, expected in images.items():
            assert _images(folder, split, expected) <= expected, seed
        shutil.rmtree(folder)


def _images(
    folder: Path, split: str, expected: set[tuple[int, bytes, int]] | None = None
) -> set[tuple[int, bytes, int]]:
    """(number, image, class) of all samples that can be read, though nothing was verified."""
    reader = Reader(Index.record(folder, split))
    found = set()
    for sample in range(reader.index.num_samples):
        try:
            found.add((sample, *reader.read(sample)))
        except (ShardError, OSError):
            assert expected is not None
    return found


def test_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, how_far in (
        ([], ", each image decoded"),
        (["--quick"], "; no image was read"),
        (["--repair"], ","),
    ):
        verify.main([str(folder), "--workers=2", *words])
        assert f"whole: 4 shards, 24 samples{how_far}" in capsys.readouterr().err


def test_a_changed_image_is_named(folder: Path) -> None:
    row = Index.load(folder, "train").members[SAMPLES + 2]
    _flip(folder / "x-train-0001.tar", int(row["offset"]) + 9, random.Random(0))
    (fault,) = faults(folder)
    assert (fault.file, fault.key, fault.offset) == ("x-train-0001.tar", "key0008", int(row["offset"]))
    assert fault.what == "not what was indexed (crc32)"
    assert faults(folder, quick=True) == []


def test_a_bad_header_is_named(folder: Path) -> None:
    start = _headers(folder / "x-val-0000.tar")[2]
    _flip(folder / "x-val-0000.tar", start + 3, random.Random(0))
    (fault,) = faults(folder)
    assert (fault.file, fault.offset) == ("x-val-0000.tar", start)
    assert "bad header" in str(fault)


def test_a_key_of_two_shards_is_named(folder: Path) -> None:
    from shards import index

    twins = [
        shard.write(folder / f"x-train-{n:04d}.tar", [shard.Entry("same", "ppm", b"P6 1 1 255\nrgb", n)])
        for n in (0, 1)
    ]
    shards, members = zip(*twins, strict=True)
    (folder / "x-train-0002.tar").unlink()
    index.save(folder, "train", shards, members, classes=None, num_classes=10)
    (fault,) = faults(folder)
    assert (fault.file, fault.key) == ("x-train-0001.tar", "same")
    assert "stands in x-train-0000.tar too" in fault.what
    with pytest.raises(
        ShardError, match="1 keys stand in two shards, 1 of them with the same image, say 'sa"
    ):
        index.build(folder, {}, workers=0)
    index.main([*shlex.split(fault.what.rpartition("python -m shards.index ")[2]), "--workers=1"])
    assert not faults(folder)
    assert Index.load(folder, "train").same_keys == 1
    with pytest.raises(ShardError, match="or take all of them with --same-keys"):
        index.build(folder, {}, workers=0)


def test_swapped_shards_are_named(folder: Path) -> None:
    swapped(folder, random.Random(1))
    assert len(faults(folder)) == 2
    assert all("holds what" in fault.what for fault in faults(folder))


def test_what_is_whole_is_indexed_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x-train-0001.tar").write_bytes(b"")
    words = [str(folder), "--repair", "--workers=1"]
    with pytest.raises(ShardError, match="1 faults in 1 files"):
        verify.main(words)
    assert "x-train-0001.tar: not in the index any more" in capsys.readouterr().err
    left = Index.load(folder, "train")
    assert [one.file for one in left.shards] == ["x-train-0000.tar", "x-train-0002.tar"]
    assert left.num_samples == 2 * SAMPLES
    info = json.loads((folder / "_info.json").read_text())
    assert info["splits"]["train"]["num_samples"] == 2 * SAMPLES
    (folder / "x-train-0001.tar").unlink()
    verify.main(words)


def test_nothing_is_changed_where_a_split_has_nothing_whole(folder: Path) -> None:
    for path in (folder / "x-val-0000.tar", folder / "x-train-0000.tar"):
        path.write_bytes(b"")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ShardError, match="nothing of split val is whole"):
        verify.main([str(folder), "--repair", "--workers=1"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_faults_as_json_and_the_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing(folder, random.Random(0))
    assert command.run(lambda: verify.main([str(folder), "--json", "--workers=1"]), prefix="v: ") == 1
    out, err = capsys.readouterr()
    (fault,) = json.loads(out)
    assert fault["what"].startswith("missing")
    assert err.startswith("v: 1 faults in 1 files")
    assert command.run(lambda: verify.main([str(folder / "none")])) == 1
    assert "no such folder" in capsys.readouterr().err
