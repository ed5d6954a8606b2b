from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example import train, values

from dnw.config import ConfigError, dump, load, parse
from dnw.identity import signature


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width: must be greater than 0 (got 0)"),
        ({"width": 1.5}, "width: must be less than or equal to 1 (got 1.5)"),
        ({"widht": 0.3}, "widht: no such setting; did you mean width?"),
        ({"optim__lrr": 0.3}, "optim.lrr: no such setting; did you mean optim.lr?"),
        (
            {"optim__lr": "fast"},
            "optim.lr: must be a valid number, unable to parse string as a number (got 'fast')",
        ),
        ({"wiring__name": "dwn"}, "'fine_tune' or 'one_shot' (got 'dwn')"),
        ({"micro_batch": 12}, "micro_batch: 12 does not divide batch=32; these do: 1, 2, 4, 8, 16, 32"),
        ({"steps": None}, "epochs: must be set, or steps in its place"),
        (
            {"reduce": "exact", "deterministic": False},
            "deterministic: reduce=exact promises equal bits, which need deterministic=true",
        ),
        ({"optim__schedule": "multistep"}, "optim.milestones: must name the epochs"),
        ({"model__small": True}, "model.small: only model=mobilenet has a small variant (got model=static)"),
        ({"width": 0.415}, "width: at most 0.414 of all edges of model=static are legal (got 0.415)"),
        ({"seed": -1}, "seed: must be greater than or equal to 0 (got -1)"),
    ],
)
def test_refuses_with_name_and_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(values(**changes))
    assert message in str(refused.value)


def test_names_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse(values(width=0, batch=0, widht=1))
    assert len(str(refused.value).splitlines()) == 3


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


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        train().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "same",
    [{"data__dir": "/elsewhere"}, {"data__workers": 3}, {"log__every_steps": 7}, {"checkpoint__keep": 9}],
)
def test_signature_ignores_what_changes_no_result(same: dict[str, Any]) -> None:
    assert signature(train(**same)) == signature(train())


@pytest.mark.parametrize(
    "other", [{"width": 0.06}, {"seed": 1}, {"threads": 2}, {"batch": 64}, {"data__train_fingerprint": "ab"}]
)
def test_signature_tells_runs_apart(other: dict[str, Any]) -> None:
    assert signature(train(**other)) != signature(train())


def test_needs_no_torch() -> None:
    modules = "dnw.config, dnw.runs.folder, dnw.runs.ledger, dnw.compose, dnw.schedule"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
