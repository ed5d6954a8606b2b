from __future__ import annotations

from pathlib import Path

import pytest
from example import train

from dnw.config import ConfigError, dump, load


def test_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump(train()))
    assert load(path) == train()


def test_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"is no run folder; python launch/slurm\.py and python launch/local\.py make one"
    ):
        load(tmp_path / "config.yaml")


def test_a_file_in_the_place_of_a_run_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match=f"config.yaml: a file; name the run folder, {tmp_path}"):
        load(tmp_path / "config.yaml" / "config.yaml")
