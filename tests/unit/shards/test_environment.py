import sys
from pathlib import Path

import pytest

from shards import environment


def test_nothing_is_missing_where_tests_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.missing() is None
    environment.require()
    monkeypatch.setattr(environment, "NEEDED", ("numpy", "no_such", "nor_this"))
    assert environment.missing() == f"{sys.executable} lacks no_such, nor_this"
    monkeypatch.setattr(environment, "OLDEST", (99, 1))
    assert "older than 3.11" in str(environment.missing())


def test_a_command_is_ended_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "NEEDED", ("no_such",))
    with pytest.raises(SystemExit) as ended:
        environment.require()
    assert ended.value.code == f"{sys.executable} lacks no_such: {environment.remedy()}"


def test_the_remedy_is_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.remedy().startswith(
        f"install the project there with `{sys.executable} -m pip install`"
    )
    (tmp_path / "Makefile").touch()
    activate = tmp_path / ".venv" / "bin" / "activate"
    assert environment.remedy() == f"type `make -C {tmp_path} setup`, then `source {activate}`"
    activate.parent.mkdir(parents=True)
    activate.touch()
    assert environment.remedy() == f"type `source {activate}` first"
