"""The processes that load images end with the one that they load for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("forked", [False, True])
def test_loading_processes_end_with_one_that_fails(few_images: Path, forked: bool) -> None:
    program = (
        "import multiprocessing, sys; from pathlib import Path\n"
        "from example import train; from shards.index import Index\n"
        "from dnw.training.data import evaluation_batches\n"
        "def fail():\n"
        "    config = train(data__workers=2)\n"
        "    batches = iter(evaluation_batches(config, Index.load(Path(sys.argv[1]), 'val'), 0, 1))\n"
        "    sys.kept = next(batches), batches\n"
        "    raise ValueError('on purpose')\n"
        "if sys.argv[2] == 'True':\n"
        "    child = multiprocessing.get_context('fork').Process(target=fail)\n"
        "    child.start(), child.join(), sys.exit(child.exitcode)\n"
        "fail()\n"
    )
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-c", program, str(few_images), str(forked)]
    done = subprocess.run(  # without a remedy it never ends
        line, env=os.environ | paths, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "ValueError: on purpose" in done.stderr
