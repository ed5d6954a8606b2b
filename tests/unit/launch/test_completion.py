"""The Tab key, in a real bash that has done what the help says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# Does what readline does, then prints the answers, one line each.
BASH = """
eval "$(python launch/slurm.py -sc install=bash)"
for line in "$@"; do
    COMP_LINE="$line" COMP_POINT=${#line} COMP_WORDS=($line) COMPREPLY=()
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    hydra_bash_completion
    echo "${COMPREPLY[*]}"
done
"""


def test_experiments_and_options_are_completed(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    words = ("+exp=stat", "+exp=static_dnw data=fa")
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", *(f"python launch/slurm.py {word}" for word in words)],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = done.stdout.splitlines()
    assert found == ["+exp=static_dnw +exp=static_random", "data=fashion_mnist"], done.stderr
