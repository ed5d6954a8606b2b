from pathlib import Path

import pytest

from shards import write
from shards.errors import ShardError
from shards.ignored import Ignored
from shards.index import Index
from shards.reader import Reader
from shards.sources.imagefolder import imagefolder, imagenet


def test_imagefolder(image_folder: Path) -> None:
    source = imagefolder(image_folder)
    assert source.name == "pets"
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels == [0] * 5 + [1] * 6
    assert [picture.encode()[0] for picture in source.splits["val"].pictures] == ["jpg", "png"] * 2


def test_imagefolder_says_what_it_passes_over(image_folder: Path) -> None:
    folder = image_folder / "train" / "cat"
    for name in ("list.txt", ".hidden"):
        (folder / name).write_text("")
    source = imagefolder(image_folder)
    assert len(source.splits["train"].labels) == 11
    assert list(source.ignored.lines()) == [
        "not taken: 1 named *.txt, say train/cat/list.txt",
        "not taken: 1 named .*, say train/cat/.hidden",
    ]
    (folder / "boxes.csv").write_text("")
    with pytest.raises(ShardError, match=r"1 entries would be lost: train/cat/boxes.csv .* --skip train/cat"):
        imagefolder(image_folder)
    assert imagefolder(image_folder, Ignored(["*.csv"])).ignored.total == 3


def test_imagefolder_refuses_other_classes_in_val(image_folder: Path) -> None:
    (image_folder / "val" / "cow").mkdir()
    with pytest.raises(ShardError, match="1 classes are in val but not in train, say 'cow'"):
        imagefolder(image_folder)
    (image_folder / "val" / "cow").rmdir()
    (image_folder / "val" / "dog").rename(image_folder / "dog")
    with pytest.raises(ShardError, match="1 classes are in train but not in val, say 'dog'"):
        imagefolder(image_folder)


def test_imagefolder_refuses_empty_folders(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "train" / "cow").mkdir()
    (image_folder / "val" / "cow").mkdir()
    with pytest.raises(ShardError, match=r"train/cow: holds no images \(jpg, jpeg, jfif, png, webp"):
        imagefolder(image_folder)
    (tmp_path / "new" / "train").mkdir(parents=True)
    with pytest.raises(ShardError, match="train: holds no class folders"):
        imagefolder(tmp_path / "new")


def test_imagenet_names(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    renamed(image_folder)
    for file in (image_folder / "val").rglob("*.*"):
        file.rename(file.with_stem("ILSVRC2012_val_" + file.stem))
    source = imagenet(image_folder)
    assert "has 2 classes, ImageNet-1k has 1000" in capsys.readouterr().err
    write.write(source, tmp_path / "out", shard_samples=100, seed=0, workers=1)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert names == ["imagenet1k-train-0000.tar", "imagenet1k-validation-0000.tar"]
    val = Reader(Index.load(tmp_path / "out", "val"))
    assert "ILSVRC2012_val_dog_1" in {val.key(sample) for sample in range(4)}


def renamed(source: Path) -> None:
    for split in ("train", "val"):
        (source / split / "cat").rename(source / split / "n02121808")
        (source / split / "dog").rename(source / split / "n02084071")


def test_imagenet_has_its_own_names_of_classes(image_folder: Path) -> None:
    with pytest.raises(ShardError, match="2 classes have names that are none of WordNet's"):
        imagenet(image_folder)


def test_numbers_as_names_of_classes(image_folder: Path) -> None:
    for split in ("train", "val"):
        (image_folder / split / "cat").rename(image_folder / split / "2")
        (image_folder / split / "dog").rename(image_folder / split / "10")
    with pytest.raises(ShardError, match="its classes are numbers, which sort as 10, 2"):
        imagefolder(image_folder)
    assert imagefolder(image_folder, classes=("2", "10")).splits["train"].labels == [0] * 5 + [1] * 6
    with pytest.raises(ShardError, match="1 classes are folders or in --classes, but not both, say '3'"):
        imagefolder(image_folder, classes=("2", "10", "3"))


def test_imagenet_refuses_names_that_stand_twice(image_folder: Path) -> None:
    renamed(image_folder)
    with pytest.raises(ShardError, match="4 names stand twice, say 'dog_0': use the kind imagefolder"):
        imagenet(image_folder)
