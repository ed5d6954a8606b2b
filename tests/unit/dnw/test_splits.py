import dataclasses
import shlex
from pathlib import Path

import pytest
from example import train

from dnw.runs import class_names
from dnw.runs.folder import Run
from dnw.splits import open_splits, unnamed
from shards import index
from shards.classes import Names
from shards.errors import ShardError
from shards.index import Index


def test_both_splits_have_the_same_classes_in_one_order(pets_shards: Path) -> None:
    data = train(data__dir=str(pets_shards), data__classes=2).data
    path = pets_shards / "index-val.json"
    path.write_text(path.read_text().replace('"cat"', '"cow"'))
    with pytest.raises(ShardError, match=r"differ: other classes: class 0 is 'cat' and 'cow': say them with"):
        open_splits(data)
    names = pets_shards / "names.txt"
    names.write_text("cat\ndog\n")
    index.main([str(pets_shards), "--workers=1", "--classes", str(names)])  # as the message says
    assert open_splits(data)[1].classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cat", "dog"), ""),
        (None, ""),
        (("dog", "cat"), "the same classes in another order: class 0 is 'cat' and 'dog'"),
        (("cat", "cow"), "other classes: class 1 is 'dog' and 'cow'"),
    ],
)
def test_the_classes_of_a_run(pets_shards: Path, names: Names, said: str) -> None:
    data = train(data__dir=str(pets_shards), data__classes=2).data
    if not said:
        open_splits(data, names)
        return
    with pytest.raises(
        ShardError, match=f"the train split and the run have {said}: name the shards that it was trained on"
    ):
        open_splits(data, names)


def test_the_same_shards_get_their_names_back(pets_shards: Path, tmp_path: Path) -> None:
    data = train(data__dir=str(pets_shards), data__classes=2).data
    first, val = open_splits(data)
    data = dataclasses.replace(data, train_fingerprint=first.fingerprint, val_fingerprint=val.fingerprint)
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    class_names.write(run, ("cat", "d\nog"))
    names = class_names.read(run)
    with pytest.raises(ShardError, match="the shards are the same, give them these names again: ") as refused:
        open_splits(data, names, run.classes)
    words = shlex.split(str(refused.value).rpartition(": ")[2])
    assert words[:3] == ["python", "-m", "shards.index"]
    index.main([*words[3:], "--workers=1"])
    assert open_splits(data, names, run.classes)[0].classes == ("cat", "d\nog")


def test_what_was_compared_by_number_alone(pets_shards: Path) -> None:
    val = Index.load(pets_shards, "val")
    assert unnamed(val, ("cat", "dog")) == ""
    assert unnamed(val, None) == "classes: their number alone was compared, 2; the run has no names"
    assert unnamed(dataclasses.replace(val, classes=None), None).endswith(
        f"2; the shards in {pets_shards} don't name them"
    )
