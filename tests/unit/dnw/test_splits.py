from pathlib import Path

import pytest
from example import train

from dnw.splits import open_splits
from shards import index
from shards.errors import ShardError


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
