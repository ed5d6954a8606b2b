import io
from pathlib import Path

from PIL import Image

from shards import write
from shards.index import Index
from shards.reader import Reader
from shards.sources.generated import generated


def test_the_same_photographs_again(tmp_path: Path) -> None:
    source = generated(72, 54, {"train": 150, "val": 20})
    one, other = (
        write.write(source, tmp_path / name, shard_samples=40, seed=0, workers=0) for name in ("one", "other")
    )
    assert [index.fingerprint for index in one] == [index.fingerprint for index in other]
    assert [index.num_samples for index in one] == [150, 20]
    assert one[0].num_classes == 10
    image = Reader(Index.load(tmp_path / "one", "train")).read(0)
    assert Image.open(io.BytesIO(image.data)).size == (72, 54)


def test_splits_differ_and_classes_can_be_told_apart() -> None:
    source = generated(72, 54, {"train": 150, "val": 20})
    encoded = {split: {one.encode()[1] for one in found.pictures} for split, found in source.splits.items()}
    assert len(encoded["train"]) == 64
    assert not encoded["train"] & encoded["val"]
    assert set(source.splits["val"].labels) == set(range(10))
