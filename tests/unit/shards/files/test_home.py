"""Files of a home folder, and where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards.files.home import in_home


def test_it_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert in_home(".config", "dnw") == Path("/home/me/.config/dnw")


@pytest.mark.usefixtures("without_a_home")
def test_an_id_without_a_name_has_none() -> None:
    assert in_home(".netrc") is None
