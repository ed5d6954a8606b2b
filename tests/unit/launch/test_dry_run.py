"""What would keep a line from going through, below all that can be shown; nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from login_node import Captured, Typed

from launch import snapshot


def test_dry_run_without_images(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("dry_run=true", "data.dir=nowhere") == 2
    out = capfd.readouterr().out
    assert "#SBATCH --nodes=1" in out
    assert "momentum: 0.9" in out
    assert f"{tmp_path}/runs/static_dnw/default-SIGNATURE\n" in out
    last = out.splitlines()[-1]
    assert last.startswith(f"# REFUSED: {tmp_path}/nowhere: no such folder: write shards there with: python")
    assert {path.name for path in tmp_path.iterdir()} == {"lab"}


@pytest.mark.parametrize("fault", ["too much code", "unreadable shard", "port", "sbatch"])
def test_dry_run_of_what_would_fail(
    typed: Typed,
    tmp_path: Path,
    lab: Path,
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    words, said = ["dry_run=true"], "the code to freeze comes to"
    if fault == "too much code":
        monkeypatch.setattr(snapshot, "LIMIT_MB", 0)
    elif fault == "unreadable shard":  # root may read everything
        real = os.access
        monkeypatch.setattr(
            "os.access", lambda path, mode: not str(path).endswith(".tar") and real(path, mode)
        )
        said = "-train-0000.tar: can't be read by you"
    elif fault == "port":
        words, said = [*words, "port=1", "cluster=local"], "port: 1 can't be used"
        monkeypatch.setattr("launch.node.torchrun._why_not", lambda *_: "taken")
    else:
        (lab / "refuse").write_text("")
        said = "Slurm refuses the job"
    assert typed(*words) == 2
    out = capfd.readouterr().out
    assert out.splitlines()[-1].startswith("# REFUSED: ")
    assert said in out.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
