"""An agent in a container: what the runtime is told, what is said where it can't; and real ones."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from containers import contained
from stand_in_worker import a_run

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.errors import LaunchError
from launch.node.container import Container, write_script

ROOT = Path(__file__).resolve().parents[4]
needs_bwrap = pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="bubblewrap is not installed")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with apptainer in PATH, and nothing else."""
    monkeypatch.setenv("PATH", str(contained.runtime(tmp_path / "bin")), prepend=os.pathsep)
    return tmp_path


@pytest.fixture(
    params=[
        pytest.param("stand-in", marks=needs_bwrap),
        pytest.param("apptainer", marks=[pytest.mark.soak, contained.NO_APPTAINER]),
    ]
)
def either(here: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The same, or with the real one in PATH."""
    if request.param == "apptainer":
        monkeypatch.setenv("PATH", str(contained.REAL), prepend=os.pathsep)
        for name, value in contained.told().items():
            monkeypatch.setenv(name, value)
    return here


def test_apptainer_is_told_what_to_bind_once(here: Path) -> None:
    (here / "runs" / "images").mkdir(parents=True)
    (here / "scratch").mkdir()
    (here / "x.pth").touch()
    weights = [here / "x.pth", here / "gone.pth"]  # which a run needs for its first step alone
    script = here / "scratch" / "agent.sh"
    binds = [here / "runs", here / "runs" / "images", here / "scratch", *weights]
    found = Container("docker://a/b:1", arguments=("--no-home",)).command(script, binds, has_gpus=True)
    assert found == [
        *["apptainer", "exec", "--nv", "--bind", str(here / "runs"), "--bind", str(here / "scratch")],
        *["--bind", str(here / "x.pth")],
        *["--pwd", str(here / "scratch"), "--no-home", "docker://a/b:1", "/bin/sh", str(script)],
    ]


@pytest.mark.parametrize(
    ("has_gpus", "arguments", "is_told"), [(True, (), True), (False, (), False), (True, ("--rocm",), False)]
)
def test_gpus_are_asked_for_where_there_are_some(
    here: Path, has_gpus: bool, arguments: tuple[str, ...], is_told: bool
) -> None:
    found = Container("docker://a", arguments=arguments).command(here / "x", [here], has_gpus)
    assert ("--nv" in found) == is_told


def test_pyxis_is_a_step_of_its_own_on_this_node(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "bin" / "srun").touch(0o755)
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "16")
    found = Container("nvcr.io#nvidia/pytorch:25.01-py3", "pyxis").command(here / "x", [here], has_gpus=True)
    assert found[0] == "srun"
    assert {
        "--overlap",
        "--cpus-per-task=16",
        "--nodelist=n7",
        "--container-image=nvcr.io#nvidia/pytorch:25.01-py3",
    } <= set(found)
    assert f"--container-mounts={here}:{here}" in found


@pytest.mark.parametrize(
    ("image", "path", "folder", "said"),
    [
        ("/no/such.sif", None, "runs", "/no/such.sif: not there on this node"),
        ("docker://a", "", "runs", "apptainer or singularity: not found in PATH on this node"),
        ("docker://a", None, "a,b", "a,b: a folder or file with , or : in its name can't be bound"),
    ],
)
def test_what_a_node_lacks_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, image: str, path: str | None, folder: str, said: str
) -> None:
    (here / folder).mkdir()
    if path is not None:
        monkeypatch.setenv("PATH", path)
    with pytest.raises(LaunchError, match=said):
        Container(image).command(here / "x", [here / folder], has_gpus=False)


def test_the_script_sets_what_an_image_may_overrule_and_searches_the_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("SECRET", "of the user")
    given = {"NCCL_DEBUG": "INFO", "SECRET": "of the user", "A": "it's", "PATH": "/x", "PYTHONPATH": "/host"}
    script = write_script(tmp_path, "image", ["env"], given, tmp_path / "code")
    text = script.read_text()
    lines = {line for line in text.splitlines() if line.startswith("export ")}
    assert lines == {
        "export NCCL_DEBUG=INFO",
        """export A='it'"'"'s'""",
        f"export PYTHONPATH={tmp_path / 'code'}",
        "export PYTHONNOUSERSITE=1",
    }


# ---- a job whose agent and workers run in an image


def job(run: Run, image: Path, act: str) -> subprocess.Popen[str]:
    made = f"Job(Path({str(run.folder)!r}), 1, 2, 20, container=Container({str(image)!r}))"
    imports = "from pathlib import Path; from launch.node.job import Job, Container"
    return subprocess.Popen(
        [sys.executable, "-c", f"{imports}; {made}()"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "DNW_ACT": act},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def run(either: Path) -> Run:
    found = a_run(either)
    shutil.copytree(ROOT / "shards", found.code / "shards", ignore=shutil.ignore_patterns("__pycache__"))
    worker = found.code / "dnw" / "train.py"  # only what the launcher sets gets in
    worker.write_text(worker.read_text().replace('os.environ["ACT"]', 'os.environ["DNW_ACT"]'))
    return found


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def is_working(run: Run) -> bool:
    return all((run.folder / f"pid-{rank}").exists() for rank in range(2))


def said(run: Run) -> str:
    return "".join(path.read_text() for path in sorted(run.logs.glob("*.log")))


def test_a_stop_reaches_the_agent_though_the_runtime_passes_nothing_on(either: Path, run: Run) -> None:
    process = job(run, contained.image(either / "image"), "wait")
    until(lambda: is_working(run) or process.poll() is not None)
    process.send_signal(signal.SIGUSR2)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out + said(run)
    assert [attempt.reason for attempt in ledger.read(run)] == ["stopped"]


def test_what_is_inside_ends_with_the_job(either: Path, run: Run) -> None:
    process = job(run, contained.image(either / "image"), "wait")
    until(lambda: is_working(run) or process.poll() is not None)
    assert is_working(run), said(run)
    workers = [int((run.folder / f"pid-{rank}").read_text()) for rank in range(2)]
    process.kill()
    process.communicate()
    until(lambda: not any(Path("/proc", str(worker)).exists() for worker in workers))


def test_an_image_without_torch_is_an_error_and_a_broken_one_makes_the_node_unfit(
    either: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPTAINER_BIND", contained.told(packages=False)["APPTAINER_BIND"])
    process = job(run, contained.image(either / "lacking", packages=False), "finish")
    out, _ = process.communicate(timeout=60)
    (attempt,) = ledger.read(run)
    assert process.returncode == 1, out
    assert attempt.reason == "error"
    told = f"{either}/lacking: its python3 lacks torch, "
    assert told in (attempt.end or {})["detail"], said(run)
    (either / "broken.sif").write_bytes(bytes(5000))
    process = job(run, either / "broken.sif", "finish")
    process.communicate(timeout=60)
    unfit = ledger.read(run)[1:]
    assert [one.reason for one in unfit] == ["unfit"], "there is no other machine"
    assert "could not open image" in (unfit[-1].end or {})["detail"]
