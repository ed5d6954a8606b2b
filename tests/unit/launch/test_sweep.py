"""Which runs -m makes, and where Hydra's launchers send them. tests/slurm has a sweep on a real Slurm."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from login_node import Captured, Typed, runs

from dnw.config import ConfigError
from launch import app, snapshot
from launch.cluster.submit import job
from launch.compose import compose
from launch.node.job import Job
from launch.prepare import plan


def test_sweeps_as_hydra_has_them() -> None:
    def found(*words: str) -> list[tuple[object, ...]]:
        made = [composed.values for composed in compose(["-m", "width=0.5", *words])]
        return [(values["exp"], values["width"], values["seed"]) for values in made]

    assert found("+exp=static_dnw", "seed=range(3)") == [("static_dnw", 0.5, n) for n in range(3)]
    assert found("+exp=static_dnw", "width=choice(0.1,0.2)", "seed=1,2") == [
        ("static_dnw", width, seed) for width in (0.1, 0.2) for seed in (1, 2)
    ]
    assert [exp for exp, *_ in found("+exp=glob(static_*)")] == ["static_dnw", "static_random"]


def test_how_many_at_a_time(typed: Typed, lab: Path) -> None:
    assert typed("-m", "width=0.05,0.1,0.2", "hydra.launcher.array_parallelism=2") == 0
    assert "#SBATCH --array=0-2%2" in (lab / "script-0").read_text()
    assert typed("-m", "width=0.3,0.35,0.4", "cluster.array_parallelism=1") == 0
    assert "#SBATCH --array=0-2%1" in (lab / "script-1").read_text()


def counted(lab: Path) -> None:
    """Have Slurm's commands note that they were called."""
    for command in (lab / "bin").iterdir():
        head, _, rest = command.read_text().partition("\n")
        command.write_text(f'{head}\necho "${{0##*/}}" >>"$LAB/calls"\n{rest}')


def calls(lab: Path) -> dict[str, int]:
    """How often each command was called since this was asked last."""
    found = Counter((lab / "calls").read_text().split())
    (lab / "calls").unlink()
    return dict(found)


@pytest.mark.parametrize("count", [2, 8])
def test_slurm_is_asked_once_for_a_sweep_of_any_size(typed: Typed, lab: Path, count: int) -> None:
    """For its partitions and its largest array, and for the jobs of runs that are there already."""
    counted(lab)
    words = ["-m", f"seed=range({count})"]
    assert typed(*words) == 0
    assert calls(lab) == {"scontrol": 2, "sbatch": 1}
    queue = [f"4711_{index}|PENDING|Priority||low|2000000000|N/A|x" for index in range(count)]
    (lab / "queue").write_text("\n".join(queue) + "\n")
    text = (lab / "bin" / "squeue").read_text()
    (lab / "bin" / "squeue").write_text(text.replace('"--jobs=4711 "', '"--jobs=4711_"'))
    assert typed(*words) == 0
    assert calls(lab) == {"squeue": 1}


@pytest.mark.parametrize("words", [[], ["hydra/launcher=basic"]], ids=["cluster", "foreground"])
def test_the_runs_of_a_sweep_keep_what_was_packed_once(
    typed: Typed, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    packed, pack = [], snapshot.pack

    def noted(*given: Any, **named: Any) -> bytes:
        packed.append(named)
        return pack(*given, **named)

    monkeypatch.setattr(snapshot, "pack", noted)
    monkeypatch.setattr(app, "job", lambda *_, **__: SimpleNamespace(run=lambda begun: begun() or 0))
    assert typed("-m", "width=0.05,0.1", *words) == 0
    assert len(packed) == 1
    first, second = [run.code.read_bytes() for run in runs(tmp_path)]
    assert first == second


@pytest.mark.parametrize(
    ("words", "cluster", "in_foreground"),
    [
        ([], "slurm", False),
        (["hydra/launcher=submitit_slurm"], "slurm", False),
        (["hydra/launcher=submitit_local"], "local", False),
        (["hydra/launcher=basic"], "local", True),
        (["hydra/launcher=basic", "cluster=slurm"], "slurm", True),
    ],
)
def test_hydras_launchers(launch_shards: Path, words: list[str], cluster: str, in_foreground: bool) -> None:
    sweep = ["-m", "+exp=static_dnw", "width=0.1,0.2", f"data.dir={launch_shards}"]
    found = compose([*sweep, *words])
    assert [composed.in_foreground for composed in found] == [in_foreground] * 2
    assert {plan(composed).launch.cluster.name for composed in found} == {cluster}
    same = compose(sweep)
    assert [plan(composed).run for composed in found] == [plan(composed).run for composed in same]


def test_of_a_single_run_no_launcher_is_asked(launch_shards: Path) -> None:
    words = ["+exp=static_dnw", f"data.dir={launch_shards}"]
    for launcher in ("basic", "submitit_local"):
        (composed,) = compose([*words, f"hydra/launcher={launcher}"])
        assert not composed.in_foreground
        assert plan(composed).launch.cluster.name == "slurm"


def test_variables_of_the_processes(launch_shards: Path) -> None:
    """Hydra's env_set and the setting are one."""
    words = ["hydra.job.env_set.NCCL_DEBUG=INFO", "environment.LEVEL=2", "+environment.NAME=a b"]
    line = ["+exp=static_dnw", f"data.dir={launch_shards}", *words]
    for sweep in ([], ["-m", "width=0.1,0.2"]):
        for composed in compose([*sweep, *line]):
            made = job(plan(composed))
            assert isinstance(made, Job)
            assert made.variables == {"LEVEL": "2", "NAME": "a b", "NCCL_DEBUG": "INFO"}


@pytest.mark.parametrize(
    "word", ["environment.RANK=1", "environment={1b: x}", "environment=3", "environment.A=[1]"]
)
def test_variables_that_cannot_be(launch_shards: Path, word: str) -> None:
    (composed,) = compose(["+exp=static_dnw", f"data.dir={launch_shards}", word])
    with pytest.raises(ConfigError, match="environment"):
        plan(composed)


def test_one_after_the_other_in_the_foreground(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("-m", "width=0.1,0.2", "hydra/launcher=basic", "dry_run=true") == 0
    out = capfd.readouterr().out
    assert out.count("# torchrun, as launch/node/agent.py runs it") == 2
    assert "sbatch" not in out
    assert not (tmp_path / "runs").exists()
