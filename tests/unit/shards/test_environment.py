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


def test_only_a_command_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "NEEDED", ("no_such",))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    environment.require_for_module()
    monkeypatch.setattr(sys, "argv", ["-m"])
    with pytest.raises(SystemExit, match=f"lacks no_such: {environment.remedy()}"):
        environment.require_for_module()


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
