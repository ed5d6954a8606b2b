"""A picture of a tracked run's page in MLflow: docs/pictures/mlflow.png.

    python bench/mlflow_page.py --images FOLDER

A server on loopback with a database of its own, a demo run of some steps here that feeds it while it trains
(`track=[tensorboard,mlflow]`), and a headless Chromium that looks at the run's curves. FOLDER has shards of
Fashion-MNIST, such as those of `make demo`. Needs `pip install mlflow` and Debian's chromium-headless-shell.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from integration.browser import look  # noqa: E402
from PIL import Image  # noqa: E402
from trackers.mlflow_server import MlflowServer  # noqa: E402

WORDS = ["+exp=demo_dnw", "nproc=1", "batch=32", "micro_batch=32", "data.workers=0", "log.every_steps=1"]
SIZE, COLOURS = "1400,1050", 128


def train(images: Path, steps: int, below: Path, server: MlflowServer) -> None:
    """Train a run that feeds the server."""
    words = [f"data.dir={images}", f"steps={steps}", f"runs_dir={below}", "track=[tensorboard,mlflow]"]
    subprocess.run(
        [sys.executable, "launch/local.py", *WORDS, *words],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": server.url, "DNW_TRACK_EVERY_S": "1"},
        check=True,
    )


def draw(server: MlflowServer, out: Path, tab: str) -> str:
    """Draw a tab of the only run's page into a file, in as many colours as it needs; the page as text."""
    (run,) = server.client().search_runs(["1"])
    text = look(f"{server.url}/#/experiments/1/runs/{run.info.run_id}/{tab}", out, SIZE)
    with Image.open(out) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(out, optimize=True)
    return text


def main() -> int:
    """Train, look, and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tab", default="model-metrics", help="of the run's page; artifacts, overview")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "mlflow.png")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = MlflowServer(Path(folder))
        server.start()
        try:
            train(given.images.resolve(), given.steps, Path(folder) / "runs", server)
            draw(server, given.out, given.tab)
        finally:
            server.kill()
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
