import json
from pathlib import Path

import pytest

from shards import info
from shards.errors import ShardError
from shards.index import Index, build
from shards.shard import Entry, write


def edit(folder: Path, **changes: object) -> None:
    path = folder / info.NAME
    said = json.loads(path.read_text())
    said["splits"]["train"].update(changes)
    path.write_text(json.dumps(said))


def test_shards_added_later_are_seen_and_noted(pets_shards: Path) -> None:
    write(pets_shards / "pets-train-0003.tar", [Entry("new", "jpg", b"i", 1)])
    build(pets_shards, {}, workers=0)
    assert Index.load(pets_shards, "train").shard_lengths == (3, 4, 4, 1)
    assert json.loads((pets_shards / info.NAME).read_text())["splits"]["train"]["num_samples"] == 12


def test_one_that_no_name_tells_the_split_of_is_refused(pets_shards: Path) -> None:
    write(pets_shards / "other.tar", [Entry("new", "jpg", b"i", 1)])
    with pytest.raises(
        ShardError, match=r"1 entries would be lost: other\.tar \(in no split\).* --skip other"
    ):
        build(pets_shards, {}, workers=0)


def test_lengths_are_compared(pets_shards: Path) -> None:
    edit(pets_shards, shard_lengths=[3, 5, 4])
    with pytest.raises(ShardError, match=r"0001\.tar: has 4 samples, _info\.json says 5: copy it again; or"):
        build(pets_shards, {}, workers=0)
    (pets_shards / info.NAME).unlink()  # as the message says
    build(pets_shards, {}, workers=0)
    assert info.files(pets_shards) == {
        "train": [f"pets-train-000{n}.tar" for n in range(3)],
        "val": ["pets-val-0000.tar"],
    }


def test_what_others_noted_is_kept(pets_shards: Path) -> None:
    edit(pets_shards, alt_label="label", num_samples=None, shard_lengths=None)
    build(pets_shards, {}, workers=0)
    said = json.loads((pets_shards / info.NAME).read_text())["splits"]["train"]
    assert (said["alt_label"], said["num_samples"], said["shard_lengths"]) == ("label", 11, [3, 4, 4])


@pytest.mark.parametrize("name", ["val", "validation"])
def test_the_split_to_validate_with_has_both_its_names(name: str, pets_shards: Path) -> None:
    path = pets_shards / info.NAME
    said = json.loads(path.read_text())
    facts = said["splits"].pop("val")
    assert {**said["splits"].pop("validation"), "name": "val"} == facts
    said["splits"][name] = {**facts, "name": name, "alt_label": "label"}
    path.write_text(json.dumps(said))
    build(pets_shards, {}, workers=0)
    splits = json.loads(path.read_text())["splits"]
    assert list(splits) == ["train", "val", "validation"]
    for split in ("val", "validation"):
        assert splits[split] == {**facts, "name": split, "alt_label": "label"}
