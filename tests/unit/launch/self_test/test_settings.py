"""The self-test before it runs: what may be typed, what its cases are, who takes part, how it is shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from dnw.config import ConfigError
from launch import app
from launch.cluster.submit import job
from launch.compose import compose
from launch.config import SelfTest
from launch.errors import LaunchError
from launch.prepare import RunPlan, plan
from launch.scheduler.gres import Gpus, NodeKind
from launch.self_test import settings
from launch.self_test.checks import NAMES
from launch.self_test.series import Series


@pytest.fixture
def no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra keeps one composition; the words of another test's must be gone."""
    monkeypatch.setattr(sys, "argv", ["slurm.py"])
    GlobalHydra.instance().clear()


ROOT = Path(__file__).resolve().parents[4]
DOCUMENT = ROOT / "docs" / "self_test.md"


def planned(tmp_path: Path, *words: str) -> RunPlan:
    (composed,) = compose(["+exp=self_test", f"runs_dir={tmp_path}", "cluster=local", *words])
    return plan(composed)


@pytest.mark.usefixtures("no_hydra")
class TestOnTheLoginNode:
    def test_it_needs_no_images_and_is_handed_a_series(self, tmp_path: Path) -> None:
        found = planned(tmp_path, "nproc=2")
        assert found.train.data.dir == found.run.folder / "images"
        handed = job(found)
        assert isinstance(handed, Series)
        assert (handed.job.folder, handed.nproc) == (found.run.folder, 2)

    def test_a_step_is_a_check(self, tmp_path: Path) -> None:
        """So that `runs.py status` shows how many there are."""
        assert planned(tmp_path).train.steps == len(NAMES)
        assert planned(tmp_path, "self_test.only=[ties,exact]").train.steps == 2

    def test_other_processes_checks_or_faults_are_another_self_test(self, tmp_path: Path) -> None:
        words = ("", "nproc=2", "self_test.only=[ties]", "self_test.faults=[ties]", "seed=1")
        assert len({planned(tmp_path, *more.split()).run.folder for more in words}) == len(words)
        assert planned(tmp_path, "data.workers=0").run.folder == planned(tmp_path).run.folder

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            (
                "self_test.only=[tie]",
                "self_test.only: no check 'tie'; did you mean ties?; there are: trained",
            ),
            ("self_test.faults=[x]", "self_test.faults: no check 'x'; there are: trained, resumed_fp32"),
            ("width=0.3", "width: the checks of the self-test choose it; may be set: seed, threads, "),
            ("model=static", "model: the checks of the self-test choose it"),
            ("data.dir=x", "data.dir: the checks of the self-test choose it"),
        ],
    )
    def test_what_it_would_not_follow_is_refused(self, tmp_path: Path, word: str, said: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(said)):
            planned(tmp_path, word)


def test_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lab: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["+exp=self_test", "nodes=2", "cluster.partition=gpu", "dry_run=true"]
    monkeypatch.setattr(sys, "argv", ["launch/slurm.py", *words])
    assert app.main(app.background) == 0
    assert "#SBATCH --nodes=2" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_it_asks_for_the_gpus_that_nodes_have(tmp_path: Path, lab: Path) -> None:
    """As ImageNet's experiments do: what was to be tested would go unused else."""
    (composed,) = compose(["+exp=self_test", f"runs_dir={tmp_path}", "cluster=slurm", "nodes=2"])
    kinds = [NodeKind("low", True, 2, Gpus(4))]
    planned = plan(composed, ask=lambda _nodes: kinds)
    assert (planned.launch.gpus, planned.launch.processes_per_node) == (4, 4)
    assert "cluster.gpus_per_node=4" in planned.notes[0]
    with pytest.raises(LaunchError, match=r"^cluster\.partition: self_test wants GPUs, .* low has none"):
        plan(composed, ask=lambda _nodes: [NodeKind("low", True, 2, None)])


def test_every_check_is_documented() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {name if not name.startswith("_") else f"repeated{name}" for name in named} == set(NAMES)
    assert settings.checks(SelfTest()) == NAMES
