import contextlib
import json
from pathlib import Path

import pytest

from shards.errors import ShardError
from shards.ignored import Ignored
from shards.shard import Shard
from shards.split_files import check_sizes, files_of_splits, why_no_index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a-train-0001.tar", "a-train-0000.tar", "a-validation-0000.tar", "other.tar"):
        (tmp_path / name).touch()
    return tmp_path


def told(folder: Path, splits: object) -> None:
    (folder / "_info.json").write_text(json.dumps({"splits": splits}))


def test_names_tell_the_split(folder: Path) -> None:
    assert files_of_splits(folder, {}, Ignored(["other.tar"])) == {
        "train": ["a-train-0000.tar", "a-train-0001.tar"],
        "val": ["a-validation-0000.tar"],
    }


def test_patterns_win_over_info_and_info_over_names(folder: Path) -> None:
    told(folder, {"train": {"filenames": ["other.tar"]}, "validation": {"filenames": ["a-train-0001.tar"]}})
    rest = Ignored(["a-*0000.tar"])
    assert files_of_splits(folder, {}, rest) == {"train": ["other.tar"], "val": ["a-train-0001.tar"]}
    assert rest.total == 2
    assert files_of_splits(folder, {"train": "o*.tar"}, Ignored(["a-*"])) == {"train": ["other.tar"]}


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ({"train": "b*"}, "split train has no tar files: say which with --split train=GLOB"),
        ({"train": "a-*", "val": "a-val*"}, r"a-validation-0000\.tar is in two splits"),
    ],
)
def test_patterns_that_can_not_be(folder: Path, patterns: dict[str, str], said: str) -> None:
    with pytest.raises(ShardError, match=said):
        files_of_splits(folder, patterns)


def test_names_that_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.tar").touch()
    with pytest.raises(ShardError, match=r"which of its 1 tar files \(x\.tar, \.\.\.\) are which split\?"):
        files_of_splits(tmp_path, {})


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": {"filenames": ["../a.tar"]}}, "the shards must lie in this folder or below"),
        ({"train": {"filenames": ["/a.tar"]}}, "the shards must lie in this folder or below"),
        ({"train": {"filenames": ["b/a.tar"]}}, r"b/a\.tar: missing, though _info\.json names it"),
        ({"train": {"filenames": ["gone.tar"]}}, r"gone\.tar: missing, though _info\.json names it"),
        ({"train": {}}, "no splits with filenames in it"),
        ([], "no splits with filenames in it"),
    ],
)
def test_info_that_is_wrong(folder: Path, splits: object, said: str) -> None:
    told(folder, splits)
    with pytest.raises(ShardError, match=said):
        files_of_splits(folder, {})


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "a file, must be the folder of the shards" in why_no_index(tmp_path / "file", "train")
    assert "no such folder: write shards there" in why_no_index(tmp_path / "none", "train")


def test_the_size_of_a_shard(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"123")
    check_sizes(tmp_path, [Shard("a.tar", 1, 3, "")])
    with pytest.raises(ShardError, match="has 3 bytes, the index says 4"):
        check_sizes(tmp_path, [Shard("a.tar", 1, 4, "")])


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((0, 1, 2), []),
        ((1, 2, 3), []),
        ((2, 3, 4), [1]),
        ((0, 2), [1]),
        ((700, 701), []),  # a range that was chosen
    ],
)
def test_shards_that_are_missing_are_named(
    numbers: tuple[int, ...], missing: list[int], tmp_path: Path
) -> None:
    for number in numbers:
        (tmp_path / f"x-train-{number:04d}.tar").touch()
    ignored = Ignored()
    with contextlib.suppress(ShardError):
        files_of_splits(tmp_path, {}, ignored)
    assert [name for name, _ in ignored.refused] == [f"x-train-{number:04d}.tar" for number in missing]


def test_splits_of_a_folder_begin_alike(tmp_path: Path) -> None:
    for name in ("x-train-0001.tar", "x-train-0002.tar", "x-val-0000.tar"):
        (tmp_path / name).touch()
    with pytest.raises(ShardError, match=r"x-train-0000\.tar \(missing, though"):
        files_of_splits(tmp_path, {})
    ignored = Ignored(["x-train-0000.tar"])
    assert len(files_of_splits(tmp_path, {}, ignored)["train"]) == 2


def test_all_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "x-train-0001.tar").touch()
    with pytest.raises(ShardError, match="--skip leaves out each of its tar files"):
        files_of_splits(tmp_path, {}, Ignored(["*.tar"]))
