"""Code in one file: what comes out is what went in, or it is said that it isn't."""

from pathlib import Path

import pytest

from dnw.runs import frozen_code
from dnw.runs.frozen_code import DamagedError, sha256

FILES = {"dnw/a.py": (b"a = 1", 0o644), "start.sh": (b"exit", 0o755), "caf\udce9.yaml": (b"latin", 0o600)}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "code.zip"
    record = {"files": {name: sha256(content) for name, (content, _) in FILES.items()}}
    path.write_bytes(frozen_code.pack(record, FILES))
    return path


def test_contents_modes_and_names_come_back(code: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    folder = frozen_code.unpacked(code, tmp_path / "here")
    found = {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == FILES
    assert frozen_code.unpacked(folder, tmp_path) == folder  # a run of an earlier version


def test_the_same_files_give_the_same_bytes(code: Path) -> None:
    assert frozen_code.pack(frozen_code.read_record(code), FILES) == code.read_bytes()


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_what_is_damaged_is_not_unpacked(code: Path, tmp_path: Path, place: float) -> None:
    content = bytearray(code.read_bytes())
    at = int(len(content) * place)
    content[at : at + 20] = bytes(20)
    code.write_bytes(content)
    with pytest.raises(DamagedError, match=r"code.zip: .*(not what was frozen|is missing or damaged in it)"):
        frozen_code.unpacked(code, tmp_path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert frozen_code.read_record(tmp_path / "none") == {}
    assert frozen_code.digests(tmp_path / "none", {"a": ""}) == {"a": None}


def test_a_full_disk_is_named(code: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(2**20 - 4096))
    message = (
        f"{small_disk}: No space left on device, where the run's code is unpacked; make room, or set TMPDIR"
    )
    with pytest.raises(OSError, match=message):
        frozen_code.unpacked(code, small_disk)
