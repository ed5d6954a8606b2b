"""A headless Chromium; tests/slurm/packages.py installs it: 14 s, 64 MB to fetch, 224 MB on the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slurm import packages
from worker import ROOT

(BROWSER,) = packages.BROWSER.values()


@contextmanager
def serving(command: str, runs: Path) -> Iterator[str]:
    """The address that `launch/runs.py serve`, or `tensorboard`, prints, until the end of the block."""
    words = [sys.executable, "launch/runs.py", command, f"--runs-dir={runs}"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            said = re.search(r"http://\S+", server.stdout.readline())
            assert said
            yield said[0]
        finally:
            server.terminate()


def look(address: str, screenshot: Path, size: str = "1400,1500") -> str:
    """The page when its scripts have come to rest, as text; a picture of it into a file.

    Time passes in the browser as fast as its work is done, and stands still while it waits for an answer.
    Without WebGL curves are drawn as paths, which are part of the text.
    """
    options = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis", "--hide-scrollbars", "--no-proxy-server"]
    what = [
        f"--window-size={size}",
        "--virtual-time-budget=10000",
        f"--screenshot={screenshot}",
        "--dump-dom",
    ]
    home = {**os.environ, "HOME": str(screenshot.parent)}
    done = subprocess.run(
        [BROWSER, *options, *what, address],
        capture_output=True, text=True, timeout=300, check=False, env=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
