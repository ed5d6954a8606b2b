"""The lock of starts: who waits for it, and what is left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from folder_digest import digest

from dnw.runs.folder import Run
from launch import start_lock
from launch.errors import LaunchError

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
import zlib
from pathlib import Path
from dnw.runs.folder import Run
from launch import start_lock
with start_lock.held([Run(Path(sys.argv[1]))]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_second_waits_and_nothing_is_left(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "exp" / "default"
    line = [sys.executable, "-c", HOLD, str(run)]

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(line, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    first = start()
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = start()
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for another start in {run.parent}\n"
    first.communicate("\n", timeout=60)
    assert second.communicate("\n", timeout=60)[0] == "held\n"
    assert (first.returncode, second.returncode) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "runs" / "exp" / "default").mkdir(parents=True)
    before = digest(tmp_path)
    runs = [Run(tmp_path / "runs" / name / "default") for name in ("exp", "other")]
    with start_lock.held([*runs, *runs]):
        assert len(list(tmp_path.rglob(start_lock.NAME))) == 2
    assert digest(tmp_path) == before


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with (
        pytest.raises(LaunchError, match=r"not written, not a directory; name another folder"),
        start_lock.held([Run(tmp_path / "runs" / "exp" / "default")]),
    ):
        pass


WITHOUT_LOCKS = f"""
import errno, fcntl
def no_locks(*given):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = no_locks
{HOLD}"""


def test_where_the_file_system_has_no_locks(tmp_path: Path) -> None:
    """One holds it, the other waits; of one that was killed it is free."""
    run = tmp_path / "runs" / "exp" / "default"
    line, pipe = [sys.executable, "-c", WITHOUT_LOCKS, str(run)], subprocess.PIPE

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(line, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    killed = start()
    assert killed.stdout is not None
    assert killed.stdout.readline() == "held\n"
    killed.kill()
    killed.communicate()
    first = start()
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = start()
    assert second.stderr is not None
    owner = run.parent / start_lock.OWNER
    told = f"waiting for another start in {run.parent}; if there is none, remove {owner}\n"
    assert second.stderr.readline() == told
    first.communicate("\n", timeout=60)
    assert second.communicate("\n", timeout=60)[0] == "held\n"
    assert (first.returncode, second.returncode) == (0, 0)
    assert not list(tmp_path.rglob(".starting*"))


def test_of_two_who_wait_for_a_dead_owner_one_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one has seen the dead one's file, too, and goes on once the first one's is there."""
    owner, alive = tmp_path / start_lock.OWNER, start_lock._has_ended
    dead = f"{socket.gethostname()} 0 of-old\n"
    owner.write_text(dead)

    def ended(said: str) -> bool:
        monkeypatch.setattr(start_lock, "_has_ended", alive)
        if said == dead:
            assert start_lock._owns(owner)  # the first one, in between
        return True

    waited = []

    def waits(seconds: float) -> None:
        waited.append(seconds)
        owner.unlink()  # the first one lets go

    monkeypatch.setattr(start_lock, "_has_ended", ended)
    monkeypatch.setattr("launch.start_lock.time.sleep", waits)
    assert start_lock._owns(owner)
    assert len(waited) == 1
    assert [path.name for path in tmp_path.iterdir()] == [start_lock.OWNER]


def test_two_who_take_a_dead_owners_place_at_once(tmp_path: Path) -> None:
    owner = tmp_path / start_lock.OWNER
    owner.write_text("dead")
    successor = owner.with_name(f"{owner.name}-after-{zlib.crc32(b'dead'):08x}")
    successor.write_text("the other one, which is just about to")
    assert not start_lock._replaced(owner, "dead", "mine")
    assert owner.read_text() == "dead"
    successor.unlink()
    assert start_lock._replaced(owner, "dead", "mine")
    assert owner.read_text() == "mine"
