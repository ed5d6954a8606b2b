import fcntl
import json
import os
from pathlib import Path

import pytest

from shards.errors import ShardError
from shards.journal import NAME, WritePlan, Written, journal
from shards.shard import Shard

PLAN: WritePlan = {"kind": "imagefolder", "seed": 0}
FIRST, SECOND = (
    Written(Shard(f"x-train-000{number}.tar", 3, 10240, "ab" * 32), "cd" * 32 * number, ("a: bad",) * number)
    for number in range(2)
)


def test_what_is_done_is_known_to_the_next(tmp_path: Path) -> None:
    with journal(tmp_path, PLAN) as opened:
        assert opened.done == {}
        opened.add(FIRST)
        assert json.loads((tmp_path / NAME).read_text().splitlines()[1])["file"] == FIRST.shard.file
    with journal(tmp_path, PLAN) as opened:
        assert opened.done == {FIRST.shard.file: FIRST}
        opened.add(SECOND)
    with journal(tmp_path, PLAN) as opened:
        assert list(opened.done.values()) == [FIRST, SECOND]


def test_half_a_line_was_never_written(tmp_path: Path) -> None:
    with journal(tmp_path, PLAN) as opened:
        opened.add(FIRST)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + b'{"file": "x-tr')
    with journal(tmp_path, PLAN) as opened:
        assert list(opened.done) == [FIRST.shard.file]
    assert (tmp_path / NAME).read_bytes() == whole


def test_another_plan_is_refused_with_both(tmp_path: Path) -> None:
    with journal(tmp_path, PLAN):
        pass
    said = "were written with seed 0, now it would be with seed 1: write into another folder"
    with pytest.raises(ShardError, match=said), journal(tmp_path, {**PLAN, "seed": 1}):
        pass


def test_shards_of_someone_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    with pytest.raises(ShardError, match=r"already holds 1 tar files .*say a\.tar"), journal(tmp_path, PLAN):
        pass
    assert not (tmp_path / NAME).exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        journal(tmp_path, PLAN),
        pytest.raises(ShardError, match="another writer is at work on it"),
        journal(tmp_path, PLAN),
    ):
        pass


def test_where_nothing_can_be_locked_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with journal(tmp_path, PLAN):
        pass
    assert "the file system has no locks: start no second writer" in capsys.readouterr().err


def test_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"kind": "x"}\n{"file": 1}\n')
    with (
        pytest.raises(ShardError, match=r"write\.jsonl: damaged .*: remove the folder"),
        journal(tmp_path, PLAN),
    ):
        pass
