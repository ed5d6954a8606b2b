"""How long the status of many runs takes, on a slow network file system too.

    python bench/status_page.py                          500 runs, a tenth of them unfinished
    python bench/status_page.py --runs 20 --open-ms 0

The runs are made up: finished ones, of which the log isn't read, and others with --lines lines of it. Each
time that a file is opened --open-ms are waited for, as for a file server. `runs.py serve` is timed, from a
request for the rows to their last byte: at once after its start, and again later. Slurm is not
asked. Prints a table, writes bench/out/status_page.json (--out).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from run_folder import finish, make, note, submit  # noqa: E402

from dnw.runs.folder import Run  # noqa: E402

# Threads wait at the same time, as they do for a server.
SERVE = """
import sys, threading, time
folder, delay_s = sys.argv[1], float(sys.argv[2]) / 1000
sys.argv[:] = ["launch/runs.py"]
sys.path.insert(0, "")
def opened(event, words):
    if event == "open" and delay_s and str(words[0]).startswith(folder):
        opens.append(1)
        time.sleep(delay_s)
opens = []
sys.addaudithook(opened)
from launch.commands.serve import snapshot
snapshot.FRESH_S, snapshot.PATIENCE_S = 0.0, 60.0
from launch import runs
sys.exit(runs.main(["serve", "--runs-dir", folder]))
"""


def fill(folder: Path, runs: int, lines: int) -> None:
    """Make runs, of which every tenth has stopped on its way."""
    now = time.time()
    for number in range(runs):
        run = make(folder, f"seed={number}-{number:010x}", f"exp{number % 7}", steps=1_000_000)
        submit(run, "4194305", "local", at=now - 9000)
        note(run, 1, "claim", now - 8000, job="1", restart=0, host="n1", hosts=["n1", "n2"], pid=1)
        note(run, 1, "start", now - 7990, step=0, world=8, nodes=2, device="cuda:0")
        note(run, 1, "step", now - 7980, step=1)
        if number % 10:
            finish(run)
        else:
            log(run, lines, now - 7970)
            note(run, 1, "end", now - 20, reason="stopped", cause="preempted", step=lines)


def log(run: Run, lines: int, began: float) -> None:
    """Write a metrics.jsonl of so many lines."""
    values = '"loss": 1.5, "top1": 40.0, "lr": 0.1, "images_per_second": 5000.0, "epoch": 1.0, "attempt": 1'
    with run.metrics.open("w") as file:
        for step in range(lines):
            file.write(f'{{"step": {step}, "kind": "train", {values}, "time": {began + step / 10}}}\n')


def asked(address: str) -> tuple[float, int]:
    """Return seconds and rows of one answer."""
    began = time.perf_counter()
    with urllib.request.urlopen(f"{address}runs.json") as answer:
        rows = json.load(answer)["rows"]
    return time.perf_counter() - began, len(rows)


def measure(folder: Path, open_ms: float) -> dict[str, float]:
    """Return the seconds of the first answer, and of the shortest of three later ones."""
    command = [sys.executable, "-c", SERVE, str(folder), str(open_ms)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = re.search(r"http://\S+", server.stdout.readline())
            assert said is not None
            first, rows = asked(said[0])
            again = min(asked(said[0])[0] for _ in range(3))
            return {"rows": rows, "first_s": round(first, 3), "again_s": round(again, 3)}
        finally:
            server.terminate()


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--lines", type=int, default=9000, help="of each metrics.jsonl; 9000: ImageNet")
    parser.add_argument("--open-ms", type=float, nargs="+", default=[0.0, 1.0, 5.0])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "status_page.json")
    given = parser.parse_args()
    table = Table("ms to open a file", "runs", "first answer, s", "later ones, s")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), given.runs, given.lines)
        for open_ms in given.open_ms:
            one = found[str(open_ms)] = measure(Path(folder), open_ms)
            table.add_row(f"{open_ms:g}", *(f"{value:g}" for value in one.values()))
    Console().print(table)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
