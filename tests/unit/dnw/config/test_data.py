from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from example import train, values

from dnw.config import ConfigError, parse


def test_shards_of_this_machine_have_no_store() -> None:
    assert train().data.store() is None


def test_a_store_is_where_the_address_says(tmp_path: Path) -> None:
    store = replace(train().data, url="file:///away/", cache=str(tmp_path), cache_gb=0.5).store()
    assert store is not None
    assert (store.url, store.cache, store.limit) == ("file:///away", tmp_path, 500_000_000)


@pytest.mark.parametrize(("folder", "word"), [("", "name of a folder"), ("s3://bucket", "not an address")])
def test_the_folder_is_a_folder_of_this_machine(folder: str, word: str) -> None:
    with pytest.raises(ConfigError, match=f"data.dir: .*{word}"):
        parse(values(data__dir=folder))
