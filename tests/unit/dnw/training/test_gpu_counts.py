"""What a step asks of a GPU may only become less: bench/gpu_counts.py against the accepted figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_cuda import library

ROOT = Path(__file__).parents[4]
ACCEPTED = json.loads((ROOT / "tests" / "golden" / "gpu_counts.json").read_text())
EXPERIMENTS = sorted({name.split()[0] for name in ACCEPTED} - {"cifar_dnw"})  # whose calls are the other's


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    try:
        library.compiled()
    except library.Missing as missing:
        pytest.skip(str(missing))
    out = tmp_path_factory.mktemp("counts") / "counts.json"
    command = [sys.executable, "bench/gpu_counts.py", *EXPERIMENTS, f"--out={out}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, dict[str, int]] = json.loads(out.read_text())
    return found


@pytest.mark.xdist_group("fake_cuda")  # compiled once on a worker
@pytest.mark.parametrize("name", [name for name in ACCEPTED if name.split()[0] in EXPERIMENTS])
def test_counts_only_fall(counted: dict[str, dict[str, int]], name: str) -> None:
    now, accepted = counted[name], ACCEPTED[name]
    changed = [
        f"{key}: {accepted[key]:,} accepted, {now[key]:,} now" for key in now if now[key] != accepted[key]
    ]
    if changed:
        hint = "lower ones are accepted by: python bench/gpu_counts.py --accept"
        pytest.fail("\n  ".join([f"{name} asks something else of a GPU", *changed, hint]), pytrace=False)


def test_lower_figures_are_accepted_and_higher_ones_are_not() -> None:
    program = (
        "import json, pathlib, sys, tempfile; sys.argv = ['bench/gpu_counts.py']; sys.path[:0] = ['bench']\n"
        "import gpu_counts\n"
        "gpu_counts.ACCEPTED = pathlib.Path(tempfile.mkdtemp()) / 'counts.json'\n"
        "gpu_counts.lower({'a': {'calls': 5, 'views': 5}})\n"
        "gpu_counts.lower({'a': {'calls': 4, 'views': 6}, 'b': {'calls': 1, 'views': 1}})\n"
        "print(gpu_counts.ACCEPTED.read_text())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected: dict[str, Any] = {"a": {"calls": 4, "views": 5}, "b": {"calls": 1, "views": 1}}
    assert json.loads(told.stdout) == expected
