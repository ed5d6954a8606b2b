"""An edit by hand of a frozen configuration is noticed; what is typed is none."""

from __future__ import annotations

from pathlib import Path

from example import train
from login_node import Captured, Typed, edit

from dnw import config
from dnw.runs.folder import Run
from launch import frozen_config


def test_an_edit_that_is_typed_too_is_none(typed: Typed, run: Run) -> None:
    edit(run, "keep: 2", "keep: 7")
    assert typed("checkpoint.keep=7") == 0
    assert config.load(run.config).checkpoint.keep == 7
    assert typed() == 0  # and what was typed is no edit
    assert config.load(run.config).checkpoint.keep == 2


def test_a_configuration_of_an_earlier_version_has_no_digest(typed: Typed, run: Run, capfd: Captured) -> None:
    plain = config.dump(config.load(run.config))
    run.config.write_text(plain.replace("keep: 2", "keep: 7"))  # may have been typed, then
    assert typed() == 0
    run.config.write_text(plain.replace("momentum: 0.9", "momentum: 0.8"))
    assert typed() == 2
    assert "optim.momentum is 0.8 there" in capfd.readouterr().err


def test_what_was_written_is_no_edit(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    frozen_config.write(path, train())
    assert config.load(path) == train()
    assert frozen_config.edited(path, train(checkpoint__every_steps=9)) == {}  # typed otherwise, not edited
    path.write_text(path.read_text().replace("every_steps: 4", "every_steps: 5"))
    assert frozen_config.edited(path, train()) == {"checkpoint.every_steps": (5, 4)}


def test_code_of_an_earlier_version_gets_no_setting_that_it_does_not_know(typed: Typed, run: Run) -> None:
    """It would refuse its own configuration; the present code gets all."""
    before = config.load(run.config)
    edit(run, "  block: 1\n", "")
    head, _, text = run.config.read_text().partition("\n")
    run.config.write_text(f"{frozen_config.SEAL}{frozen_config._digest(text)}\n{text}")
    assert head.startswith(frozen_config.SEAL)
    assert typed("checkpoint.keep=7") == 0
    assert "block:" not in run.config.read_text()
    assert config.load(run.config).checkpoint.keep == 7
    assert frozen_config.edited(run.config, before) == {}
    assert typed("code=new") == 0
    assert config.load(run.config) == before
    assert "  block: 1\n" in run.config.read_text()
