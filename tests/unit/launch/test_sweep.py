"""Which runs -m makes, and where Hydra's launchers send them. tests/slurm has a sweep on a real Slurm."""

import threading
import time
from pathlib import Path

import pytest
from login_node import Captured, Typed
from run_folder import Slurm, finish, make, note, slurm, submit

from launch.commands import wait as waiting
from launch.compose import compose
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


def test_one_after_the_other_in_the_foreground(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("-m", "width=0.1,0.2", "hydra/launcher=basic", "dry_run=true") == 0
    out = capfd.readouterr().out
    assert out.count("# torchrun, as launch/node/agent.py runs it") == 2
    assert "sbatch" not in out
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    found = slurm(tmp_path, monkeypatch)
    found.says("sacct")
    return found


def test_waiting_until_all_are_done(tmp_path: Path, cluster: Slurm, capfd: Captured) -> None:
    waits, done = make(tmp_path / "runs", "a-0123456789"), make(tmp_path / "runs", "b-0123456789")
    finish(done)
    submit(waits, "7")
    now = time.time()
    cluster.says("squeue", f"7|RUNNING|None|n1|low|{now:.0f}|{now:.0f}|{waits.slurm}/1/job.sh\n")

    def ends() -> None:
        time.sleep(0.3)
        finish(waits)

    note(waits, 1, "claim", time.time() + 1, job="7", restart=0, hosts=["n1"])
    thread = threading.Thread(target=ends)
    thread.start()
    code = waiting.wait([waits, done], poll_s=0.2)
    thread.join()
    assert code == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "example/a-0123456789: finished"
    assert lines.count("example/b-0123456789: finished") == 1


def test_waiting_ends_where_nobody_works_on_it(tmp_path: Path, cluster: Slurm, capfd: Captured) -> None:
    run = make(tmp_path / "runs")
    submit(run, "7", at=time.time() - 9)
    note(run, 1, "claim", time.time() - 5, job="7", restart=0, hosts=["n1"])
    note(run, 1, "end", time.time(), reason="error", by="launcher")
    cluster.says("squeue")
    assert waiting.wait([run], poll_s=0.01) == 1
    assert "example/default-0123456789: failed, error" in capfd.readouterr().out
