"""The study on disk is Optuna's own, and bears what killed processes leave."""

import errno
import fcntl
from pathlib import Path

import optuna
import pytest

from launch.errors import LaunchError
from launch.study import record
from launch.study.record import JOURNAL
from launch.study.space import Numbers

SPACE = {"width": Numbers(0.1, 0.5)}


def test_optuna_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with record.opened(folder, ["maximize", "minimize"]) as study:
        one = study.add({"width": 0.2}, SPACE, "a/b-0123456789")
        study.report(one, 1, 30.0, 4)
        study.complete(study.trials()[0], [61.5, 100.0])
        two = study.add({"width": 0.3}, SPACE, "a/c-0123456789")
        study.fell_behind(two, "after step 4")
        study.pruned(two)
        study.add_failed({"width": 0.4}, SPACE, "no such")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    )
    loaded = optuna.load_study(study_name="mine", storage=storage)
    assert [one.state.name for one in loaded.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert [one.values for one in loaded.best_trials] == [[61.5, 100.0]]
    assert loaded.trials[0].intermediate_values == {1: 30.0}
    first, second, third = record.look(folder).trials()
    assert (first.steps, first.values, first.run) == ({1: 4}, (61.5, 100.0), "a/b-0123456789")
    assert (second.behind, second.is_open, third.cause) == ("after step 4", False, "no such")


@pytest.mark.parametrize("left", [b'{"op_code":4,"wor', b"\0\0\0"])
def test_a_line_that_was_cut_off_is_none(tmp_path: Path, left: bytes) -> None:
    folder = tmp_path / "mine"
    with record.opened(folder, ["maximize"]) as study:
        study.add({"width": 0.2}, SPACE, "a/b-0123456789")
    with (folder / JOURNAL).open("ab") as file:
        file.write(left)
    assert len(record.look(folder).trials()) == 1
    with record.opened(folder, ["maximize"]) as study:
        study.add({"width": 0.3}, SPACE, "a/c-0123456789")
    assert len(record.look(folder).trials()) == 2


def test_a_journal_that_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with record.opened(folder, ["maximize"]) as study:
        study.add({"width": 0.2}, SPACE, "a/b-0123456789")
    text = (folder / JOURNAL).read_bytes()
    (folder / JOURNAL).write_bytes(b"nonsense\n" + text)
    with pytest.raises(LaunchError, match=r"optuna\.journal: damaged .*study_name=NAME"):
        record.look(folder)


def test_without_locks_a_process_of_another_machine_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    with record.opened(folder, ["maximize"]):
        pass
    said = '{"attempt": 0, "job": "-", "host": "another", "pid": 7}\n'
    (folder / record.LOCK).write_text(said)
    with record.opened(folder, ["maximize"]):  # its lock is free: it has ended
        pass
    (folder / record.LOCK).write_text(said)

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(
            LaunchError, match=r"process 7 on another goes on .*without locks, .* delete .*mine/lock"
        ),
        record.opened(folder, ["maximize"]),
    ):
        pass
    assert (folder / record.LOCK).read_text() == said
    (folder / record.LOCK).unlink()
    with record.opened(folder, ["maximize"]) as study:
        assert study.add({"width": 0.2}, SPACE, "a/b-0123456789").number == 0


def test_looking_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no study; it would have a file"):
        record.look(tmp_path)
