"""ImageNet from the archives that its owners hand out, made small."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from shards import write
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources.imagenet_tars import TRAIN, VAL, imagenet_tars
from shards.sources.source import smaller

WNIDS = ("n02000000", "n01000000", "n03000000")  # in the order of ILSVRC2012_ID, which isn't that of classes
TRUTH = (3, 1, 2, 1)  # ILSVRC2012_ID of each validation image


def jpeg(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 5, size[0] // 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, "JPEG")
    return file.getvalue()


def archive(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def meta() -> bytes:
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, wnid, "words", 0) for number, wnid in enumerate(WNIDS, start=1)]
    file = io.BytesIO()
    savemat(file, {"synsets": np.array([*rows, (4, "n00000001", "entity", 3)], dtype=fields)[:, None]})
    return file.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "downloaded"
    folder.mkdir()
    images = {w: {f"{w}_{n}.JPEG": jpeg(10 * int(w[2]) + n) for n in range(3)} for w in WNIDS}
    (folder / TRAIN).write_bytes(archive({f"{w}.tar": archive(files) for w, files in images.items()}))
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 5)]
    (folder / VAL).write_bytes(archive({name: jpeg(n, (700, 400)) for n, name in enumerate(names)}))
    kit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": meta(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": b"".join(
            b"%d\n" % number for number in TRUTH
        ),
    }
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(archive(kit, "w:gz"))
    return folder


def test_classes_and_images(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write.main(["imagenet", str(source), str(out), "--workers=1"])
    train, val = (Reader(Index.load(out, split)) for split in ("train", "val"))
    assert train.index.classes == tuple(sorted(WNIDS))
    read = {train.key(n): train.read(n) for n in range(9)}
    assert read["n02000000_1"] == (jpeg(21), 1)
    assert sorted(key for key in read) == sorted(f"{wnid}_{n}" for wnid in WNIDS for n in range(3))
    assert all(sorted(WNIDS)[sample.label] == key.split("_")[0] for key, sample in read.items())
    labels = {val.key(n): val.read(n).label for n in range(4)}
    expected = [sorted(WNIDS).index(WNIDS[number - 1]) for number in TRUTH]
    assert [labels[key] for key in sorted(labels)] == expected
    names = sorted(json.loads((out / "_info.json").read_text())["splits"]["val"]["filenames"])
    assert names == ["imagenet1k-validation-0000.tar"]


def test_the_unpacked_kit_will_do(source: Path) -> None:
    whole = imagenet_tars(source)
    with tarfile.open(source / "ILSVRC2012_devkit_t12.tar.gz") as kit:
        kit.extractall(source, filter="data")
    (source / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    assert imagenet_tars(source) == whole


def test_scaled_on_the_way(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["imagenet", str(source), str(out), "--workers=1"]
    write.main([*words, "--longest=512"])
    reader = Reader(Index.load(out, "val"))
    sizes = [Image.open(io.BytesIO(reader.read(n).data)).size for n in range(4)]
    assert sizes == [(512, 293)] * 4
    train = Reader(Index.load(out, "train"))
    assert train.read(0).data in {jpeg(seed) for seed in range(40)}  # small enough: as it was
    with pytest.raises(ShardError, match="written with longest 512, quality 90, now"):
        write.main(words)


def test_scaling_keeps_the_picture(source: Path) -> None:
    picture = smaller(imagenet_tars(source), 350, 95).splits["val"].pictures[0]
    found = Image.open(io.BytesIO(picture.encode()[1]))
    expected = Image.open(io.BytesIO(jpeg(0, (700, 400)))).resize((350, 200), Image.Resampling.LANCZOS)
    assert found.size == expected.size
    brightness = [np.asarray(image.convert("L"), np.float32) for image in (found, expected)]
    assert np.abs(brightness[0] - brightness[1]).mean() < 2


def without(name: str) -> object:
    return lambda source: (source / name).unlink()


def cut(name: str, size: int) -> object:
    return lambda source: (source / name).write_bytes((source / name).read_bytes()[:size])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (without(VAL), f"{VAL}: missing: download it again"),
        (without("ILSVRC2012_devkit_t12.tar.gz"), "devkit_t12.tar.gz: missing, which says the classes"),
        (cut("ILSVRC2012_devkit_t12.tar.gz", 100), "devkit_t12.tar.gz: damaged"),
        (cut(TRAIN, 3000), f"{TRAIN}: truncated"),
        (cut(VAL, 2000), f"{VAL}: truncated"),
        (lambda source: (source / VAL).write_bytes(archive({"a.JPEG": b""})), "holds 1 images, the kit"),
        (lambda source: (source / TRAIN).write_bytes(archive({"n01000000.tar": archive({"a.JPEG": b"i"})})),
         "speaks of class n03000000"),
    ],
)  # fmt: skip
def test_what_is_missing_or_damaged(source: Path, harm: object, said: str) -> None:
    harm(source)
    with pytest.raises(ShardError, match=said):
        imagenet_tars(source)
