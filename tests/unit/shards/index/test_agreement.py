import dataclasses
import json
from pathlib import Path

import numpy as np

from shards import index, info, verify
from shards.index import Index


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in verify.verify(folder, quick=True, workers=0)[0]]


def test_what_others_would_take_for_the_splits_is_named(pets_shards: Path) -> None:
    path = pets_shards / info.NAME
    said = json.loads(path.read_text())
    facts = said["splits"]["train"]
    facts["shard_lengths"][0] += 1
    path.write_text(json.dumps(said))
    (fault,) = faults(pets_shards)
    assert "has 3 samples, _info.json says 4" in fault
    del facts["filenames"][0], facts["shard_lengths"][0]
    path.write_text(json.dumps(said))
    (fault,) = faults(pets_shards)
    assert "names other shards of split train than its index does: remove it and make the indexes" in fault
    path.unlink()
    index.build(pets_shards, {}, workers=0)
    assert not faults(pets_shards)


def test_names_beside_the_index_are_compared(pets_shards: Path) -> None:
    (pets_shards / "classnames.txt").write_text("cat\ndog\n")
    assert not faults(pets_shards)
    (pets_shards / "classnames.txt").write_text("dog\ncat\n")
    found = faults(pets_shards)
    assert len(found) == 2
    assert "classnames.txt: isn't what the index of split train says: the same classes in anoth" in found[0]
    (pets_shards / "classnames.txt").write_text("")
    assert "an empty line, or none at all" in faults(pets_shards)[0]


def test_classes_of_the_splits_are_compared(pets_shards: Path) -> None:
    path = pets_shards / "index-val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["dog", "cat"]}))
    (fault,) = faults(pets_shards)
    assert "classes of the train and the val split differ" in fault


def test_a_shard_of_two_splits_is_named(pets_shards: Path) -> None:
    train = Index.load(pets_shards, "train")
    (pets_shards / "pets-val-0000.tar").write_bytes(train.paths[0].read_bytes())
    rows = np.array(train.members[: train.shard_lengths[0]])
    again = dataclasses.replace(train.shards[0], file="pets-val-0000.tar")
    index.save(pets_shards, "val", [again], [rows], classes=train.classes, num_classes=2)
    index.save_info([train, Index.load(pets_shards, "val")])
    (fault,) = faults(pets_shards)
    assert "with the same bytes as pets-train-0000.tar, is in two splits: what is trained on can't" in fault
