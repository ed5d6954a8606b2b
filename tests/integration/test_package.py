"""The project as pip installs it: a wheel, in an environment of its own, used from an empty folder."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from login_node import frozen
from worker import ROOT

import dnw
from dnw.config import load
from dnw.runs.folder import Run
from shards.environment import NEEDED


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and the dependencies of the tests' own."""
    base = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(base), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = base.glob("*.whl")
    venv.create(base / "venv", symlinks=True)
    python = base / "venv" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = (base / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def typed(installed: Path, here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [installed / "dnw", *words], cwd=here, env=environment, capture_output=True, text=True, check=False
    )


def test_two_steps_in_an_empty_folder(installed: Path, tmp_path: Path, few_images: Path) -> None:
    words = ["+exp=demo_dnw", f"data.dir={few_images}", "steps=2", "batch=8", "micro_batch=4"]
    done = typed(installed, tmp_path, "run", *words, "nproc=2")
    assert done.returncode == 0, done.stdout + done.stderr
    (config,) = tmp_path.glob("runs/demo_dnw/*/config.yaml")
    assert load(config).steps == 2
    run = Run(config.parent)
    assert run.result.is_file()
    kept = frozen(run.code)
    assert "dnw/configs/exp/demo_dnw.yaml" in kept
    plugins = sorted(name for name in kept if name.startswith("hydra_plugins/"))
    assert plugins == [
        f"hydra_plugins/dnw_{name}.py" for name in ("adaptive", "networks", "sweep", "user_classes")
    ]
    status = typed(installed, tmp_path, "runs", "status")
    assert "finished" in status.stdout, status.stderr
    assert "top-1" in typed(installed, tmp_path, "evaluate", str(run.folder)).stdout
    again = typed(installed, tmp_path, "run", *words, "nproc=2")
    assert (again.returncode, "finished" in again.stdout) == (0, True)


def test_the_command_in_the_words_of_its_help(installed: Path, tmp_path: Path) -> None:
    assert typed(installed, tmp_path, "--version").stdout == f"dnw {dnw.__version__}\n"
    helped = typed(installed, tmp_path, "submit", "--help").stdout
    assert "dnw submit +exp=NAME nodes=N" in helped
    assert "launch/" not in helped.replace("launch/config", "")
    assert "usage: dnw runs" in typed(installed, tmp_path, "runs", "--help").stdout
    assert "fashion_mnist" in typed(installed, tmp_path, "shards", "write", "--help").stdout
    listed = typed(installed, tmp_path)
    assert listed.returncode == 0
    for word in re.findall(r"^  dnw (\w+)", listed.stdout, re.MULTILINE):
        helped_too = typed(installed, tmp_path, word, "--help")
        assert helped_too.returncode == 0, helped_too.stderr


def test_a_word_that_is_no_command(installed: Path, tmp_path: Path) -> None:
    done = typed(installed, tmp_path, "sumbit")
    assert done.returncode == 2
    assert done.stderr.startswith("dnw: no command 'sumbit'; there are: submit, run, runs")


COMMANDS = [
    *([f"launch/{name}.py"] for name in ("slurm", "local", "runs", "demo")),
    *(["-m", f"dnw.{name}"] for name in ("train", "evaluate", "export", "profile", "import_reference")),
    *(["-m", f"shards.{name}"] for name in ("write", "verify", "index")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_outside_the_environment(command: list[str]) -> None:
    """Without its packages a command tells what to type, in one line."""
    done = subprocess.run(
        [sys.executable, "-S", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"lacks {', '.join(NEEDED)}: " in line
    assert f"{ROOT}/.venv/bin/activate" in line
