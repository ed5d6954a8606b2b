import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnw.runs import lock
from dnw.runs.lock import HeldError, Lock

HOLD = """
import sys, time
from pathlib import Path
from dnw.runs.lock import Lock
with Lock.take(Path(sys.argv[1])) as held:
    held.write(attempt=3, job="17", pid=99, host="n1")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[4],
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_one_holder_at_a_time_who_is_named(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    path = tmp_path / "lock"
    with pytest.raises(HeldError, match=r"lock: held by attempt 3 \(job 17, process 99 on n1\)"):
        Lock.take(path)
    assert lock.holder(path) == {"attempt": 3, "job": "17", "pid": 99, "host": "n1"}


def test_it_is_free_once_its_holder_was_killed(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    other.kill()
    other.wait()
    assert lock.holder(tmp_path / "lock") is None
    with Lock.take(tmp_path / "lock"):
        pass


def test_whoever_just_looks_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.take(path):
        pass
    look = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH)"
    command = [sys.executable, "-c", f"{look}; print(flush=True); time.sleep(0.5)", str(path)]
    looking = subprocess.Popen(command, stdout=subprocess.PIPE)
    with looking:
        assert looking.stdout is not None
        looking.stdout.readline()
        began = time.monotonic()
        with Lock.take(path):
            assert time.monotonic() - began > 0.2


def test_what_inherits_it_holds_it_too(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.take(path) as held:
        heir = subprocess.Popen(["sleep", "60"], pass_fds=(held.descriptor,))
    try:
        assert lock.holder(path) is not None
    finally:
        heir.kill()
        heir.wait()
    assert lock.holder(path) is None


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "lock") is None
    assert lock.read(tmp_path / "lock") == {}


def test_a_new_holder_is_never_taken_for_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.take(path) as held:
        held.write(attempt=1, job="a", pid=1, host="n1")
    with Lock.take(path):
        assert lock.describe(lock.holder(path) or {}) == "an attempt that is just starting"


def test_what_the_cluster_knows_to_be_gone_is_passed_over(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    """A node that was cut off holds its lock for ever."""
    path = tmp_path / "lock"
    with Lock.take(path, holder_state=lambda record: "gone" if record["job"] == "17" else "unknown") as held:
        held.write(attempt=4, job="18", pid=1, host="n2")
        assert lock.describe(lock.holder(path) or {}) == "attempt 4 (job 18, process 1 on n2)"
        assert other.poll() is None
        with pytest.raises(HeldError, match="held by attempt 4"):
            Lock.take(path)
    assert lock.holder(path) is None
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_what_the_cluster_knows_to_work_is_respected(tmp_path: Path) -> None:
    """Where a lock doesn't reach from node to node."""
    path = tmp_path / "lock"
    path.write_text('{"attempt": 3, "job": "17", "pid": 99, "host": "n1"}\n')
    with pytest.raises(HeldError, match="held by attempt 3"):
        Lock.take(path, holder_state=lambda record: "works")
    with Lock.take(path, holder_state=lambda record: "unknown"):
        pass
    with Lock.take(path, holder_state=lambda record: "works"):  # it let go: there is nobody to ask about
        pass


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system has none."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize(
    ("host", "process", "cluster", "is_held", "is_seen"),
    [
        ("here", "lives", "unknown", True, True),
        ("here", "gone", "unknown", False, False),
        ("elsewhere", "lives", "unknown", False, False),  # the claim keeps it out if it works
        ("elsewhere", "lives", "works", True, False),
        ("here", "lives", "gone", False, True),
    ],
)
@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_content_tells(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    host: str,
    process: str,
    cluster: lock.HolderState,
    is_held: bool,
    is_seen: bool,
) -> None:
    path = tmp_path / "lock"
    names = {"here": socket.gethostname()}
    record = {"attempt": 3, "job": "7", "pid": os.getpid() if process == "lives" else 2**22 + 1}
    path.write_text(json.dumps({**record, "host": names.get(host, host)}) + "\n")
    assert (lock.holder(path) is not None) == is_seen
    if is_held:
        with pytest.raises(HeldError, match="held by attempt 3"):
            Lock.take(path, lambda _: cluster)
    else:
        with Lock.take(path, lambda _: cluster) as held:
            held.write(attempt=4, job="8", pid=os.getpid(), host=socket.gethostname())
            assert lock.holder(path) is not None
        assert lock.holder(path) is None
    assert capsys.readouterr().err.count("has no locks") == 1
