from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def python_that(folder: Path, body: str) -> str:
    """A stand-in for python3 that fails in one way."""
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_missing_python_is_named(tmp_path: Path) -> None:
    done = make("setup", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert done.stdout.splitlines() == ["Python is missing: apt-get install python3 python3-venv"]
    assert not (tmp_path / "venv").exists()


def test_old_python_is_named(tmp_path: Path) -> None:
    old = python_that(tmp_path, "exit 1")
    done = make("setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.stdout.splitlines() == [f"{old} is none of 3.11 to 3.13: name one, make PYTHON=python3.11"]


def test_missing_venv_is_named(tmp_path: Path) -> None:
    without = python_that(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac')
    done = make("setup", f"PYTHON={without}", f"VENV={tmp_path / 'venv'}")
    assert done.stdout.splitlines() == ["The venv module is missing: apt-get install python3-venv"]


def test_second_setup_has_nothing_to_do() -> None:
    assert make("--question", "setup").returncode == 0


def test_without_a_gpu_nothing_is_tested_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of tests that are all skipped would end as if all were well."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = make("gpu")
    assert done.returncode != 0
    assert done.stdout.splitlines() == [
        "No GPU here (no /dev/nvidia*, or CUDA_VISIBLE_DEVICES names none): nothing was tested. "
        "On the CPU: python launch/local.py +exp=self_test nproc=2"
    ]


def test_help_names_every_target() -> None:
    shown = make("help").stdout
    for target in ("demo", "test", "check", "tests", "quick", "gpu", "soak", "setup", "docs", "clean"):
        assert f"make {target} " in shown
