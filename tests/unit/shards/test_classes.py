import json
from pathlib import Path

import pytest

from shards import classes
from shards.errors import ShardError
from shards.index import Index, build


def test_names_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_bytes(b"b\na c\ncaf\xe9\n")
    assert classes.read_names(path) == ("b", "a c", "caf\udce9")
    for text, said in (
        ("", "none at all"),
        ("a\n\nb\n", "an empty line"),
        ("a\nb\na\n", "1 classes stand twice"),
    ):
        path.write_text(text)
        with pytest.raises(ShardError, match=said):
            classes.read_names(path)


def test_a_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffb\na\n")
    assert classes.read_names(tmp_path / "names.txt") == ("b", "a")


def test_names_from_a_list(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('["b", "a\\nc", "caf\\udce9"]')
    assert classes.read_names(path) == ("b", "a\nc", "caf\udce9")
    for text, said in (("[", "no list"), ('{"a": 0}', "must be a list"), ("[1]", "must be a list")):
        path.write_text(text)
        with pytest.raises(ShardError, match=said):
            classes.read_names(path)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (("a", "b"), ("a", "b"), ""),
        (("a", "b"), None, ""),
        (("a", "b"), ("a",), "2 classes and 1"),
        (("a", "b", "c"), ("a", "c", "b"), "the same classes in another order: class 1 is 'b' and 'c'"),
        (("a", "b"), ("a", "x"), "other classes: class 1 is 'b' and 'x'"),
    ],
)
def test_how_classes_differ(ours: tuple[str, ...], theirs: tuple[str, ...] | None, said: str) -> None:
    assert classes.differing(ours, theirs) == said


def test_names_stay_with_the_shards_that_they_are_of(pets_shards: Path) -> None:
    build(pets_shards, {}, workers=0)
    assert Index.load(pets_shards, "train").classes == ("cat", "dog")
    for split in ("train", "val"):  # an index of other shards
        path = pets_shards / f"index-{split}.json"
        record = json.loads(path.read_text())
        for one in record["shards"]:
            one["sha256"] = "0" * 64
        path.write_text(json.dumps(record))
    with pytest.raises(
        ShardError, match=r"names 2 classes of other shards, none of which is here: remove it"
    ):
        build(pets_shards, {}, workers=0)
    build(pets_shards, {}, workers=0, classes=("x", "y"))
    assert Index.load(pets_shards, "val").classes == ("x", "y")


def test_two_indexes_that_differ_and_too_few_names(pets_shards: Path) -> None:
    path = pets_shards / "index-val.json"
    path.write_text(path.read_text().replace('"dog"', '"cow"'))
    with pytest.raises(ShardError, match=r"other classes: class 1 is 'dog' and 'cow'.*--classes FILE"):
        build(pets_shards, {}, workers=0)
    with pytest.raises(ShardError, match="has a sample of class 1, but there are names of 1 classes only"):
        build(pets_shards, {}, workers=0, classes=("x",))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"num_classes": 2', '"num_classes": 1', r"damaged \(2 names of 1 classes\): make it again with"),
        (
            '"num_classes": 2,\n "classes": [\n  "cat",\n  "dog"\n ]',
            '"num_classes": 1,\n "classes": ["cat"]',
            r"-0000\.tar: the sample whose image is at byte \d+ has class 1, the index knows 0 to 0: make it",
        ),
    ],
)
def test_more_or_fewer_classes_than_names(pets_shards: Path, old: str, new: str, said: str) -> None:
    path = pets_shards / "index-val.json"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    with pytest.raises(ShardError, match=said):
        Index.record(pets_shards, "val")
    build(pets_shards, {}, workers=0, classes=("cat", "dog"))  # as the message says
    assert Index.load(pets_shards, "val").num_classes == 2
