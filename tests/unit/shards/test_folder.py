"""What is said of a folder that lacks something; more of it is in test_index.py."""

from pathlib import Path

import pytest

from shards.errors import ShardError
from shards.folder import check_sizes, why_no_index
from shards.shard import Shard


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "a file, must be the folder of the shards" in why_no_index(tmp_path / "file", "train")
    assert "no such folder: write shards there" in why_no_index(tmp_path / "none", "train")


def test_the_size_of_a_shard(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"123")
    check_sizes(tmp_path, [Shard("a.tar", 1, 3, "")])
    with pytest.raises(ShardError, match="has 3 bytes, the index says 4"):
        check_sizes(tmp_path, [Shard("a.tar", 1, 4, "")])
