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
        words, said = [*words, "port=2000", "cluster=local"], "port: 2000 can't be used"
        monkeypatch.setattr("launch.node.torchrun.why_not", lambda *_: "taken")
    else:
        (lab / "refuse").write_text("")
        said = "Slurm refuses the job"
    assert typed(*words) == 2
    out = capfd.readouterr().out
    assert out.splitlines()[-1].startswith("# REFUSED: ")
    assert said in out.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_dry_run_shows_what_runs_in_the_container(
    typed: Typed, tmp_path: Path, launch_shards: Path, capfd: Captured, cluster: str
) -> None:
    words = [f"cluster={cluster}", "cluster.container=docker://a/b", "cluster.python=/opt/python"]
    assert typed("dry_run=true", *words) == 0
    out = capfd.readouterr().out
    bound = f"--bind {tmp_path}/runs --bind {launch_shards} --bind SCRATCH --pwd SCRATCH"
    assert f"\napptainer exec {bound} docker://a/b /bin/sh SCRATCH/agent.sh\n" in out
    assert "in the container: what agent.sh runs\nPYTHONPATH=" in out
    assert "code.zip /opt/python -m launch.node.agent --nnodes" in out


def test_dry_run_shows_the_step_that_pyxis_runs(typed: Typed, capfd: Captured) -> None:
    assert typed("dry_run=true", "cluster.container=docker://a/b", "cluster.container_runtime=pyxis") == 0
    out = capfd.readouterr().out
    assert "\nsrun --overlap --nodes=1 --ntasks=1 --nodelist=NODE" in out
    assert "--container-image=docker://a/b --container-mounts=" in out
