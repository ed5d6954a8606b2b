"""Where an attempt keeps its code and temporary files, and how many it may open."""

import errno
import os
import resource
import tempfile
from pathlib import Path

import pytest
from stand_in_worker import a_run

from dnw.runs import frozen_code
from launch.errors import NodeError
from launch.node import scratch

OPEN = resource.RLIMIT_NOFILE
FULL = [errno.ENOSPC, errno.EDQUOT]


def test_the_code_lies_in_a_folder_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = tmp_path / "code.zip"
    record = {"files": {"a.py": frozen_code.sha256(b"a = 1\n")}}
    code.write_bytes(frozen_code.pack(record, {"a.py": (b"a = 1\n", 0o644)}))
    with scratch.folder(code) as (folder, there):
        assert (there.parent, (there / "a.py").read_text()) == (folder, "a = 1\n")
    assert not folder.exists()
    code.write_bytes(frozen_code.pack(record, {"a.py": (b"a = 2\n", 0o644)}))
    with pytest.raises(frozen_code.DamagedError), scratch.folder(code):
        pass


@pytest.mark.parametrize("number", FULL)
def test_no_room_is_the_nodes_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    code = a_run(tmp_path).code

    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkdtemp", full)
        told = f"no temporary folder: {os.strerror(number)}; set TMPDIR"
        with pytest.raises(NodeError, match=told), scratch.folder(code):
            pass
    code = tmp_path / "code.zip"
    code.write_bytes(frozen_code.pack({"files": {"a": frozen_code.sha256(b"")}}, {"a": (b"", 0o644)}))
    monkeypatch.setattr(Path, "write_bytes", full)
    told = f"{os.strerror(number)}, where the run's code is unpacked; make room"
    with pytest.raises(NodeError, match=told), scratch.folder(code):
        pass


def test_as_many_files_may_be_open_as_the_node_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 4096), (64, 64), (1024, resource.RLIM_INFINITY), (5000, 5000)]
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limit: given.append(limit))
    for limit in limits:
        monkeypatch.setattr(resource, "getrlimit", lambda _which, limit=limit: limit)
        scratch.allow_open_files(2)
    assert given == [(4096, 4096), (scratch.MOST_OPEN, resource.RLIM_INFINITY)]


def test_too_few_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (20, 20))
    told = r"^a process may open 20 files here, and 62 are needed for 2 processes: raise that limit \(ul"
    with pytest.raises(NodeError, match=told):
        scratch.allow_open_files(2)
