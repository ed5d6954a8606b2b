"""How long it takes to submit a sweep, and how often Slurm's commands are called for it.

    python bench/sweep_submission.py                      100 runs; half a minute
    python bench/sweep_submission.py --runs 12 data.dir=data/few

Asked is the Slurm in PATH; where there is none, one of this machine (tests/slurm), which needs root on
Debian. The jobs are to begin in nine days, and are cancelled at the end. "First" is the first submission,
"again" the same line, which finds all of them queued. CPU seconds are of the submit command and of Slurm's
commands together.

Needs the shards of Fashion-MNIST in data/fashion_mnist (make demo writes them), or data.dir=. Prints a table,
writes bench/out/sweep_submission.json (--out).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from slurm.cluster import Cluster  # noqa: E402

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr", "scancel")
NOTED = '#!/bin/sh\necho {name} >>{calls}\nexec {command} "$@"\n'
LATER = "cluster.additional_parameters={begin: now+9days}"


@contextlib.contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Yield variables with which Slurm's commands are in PATH."""
    if shutil.which("sbatch"):
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["scontrol", "ping"], check=True, capture_output=True)
            yield dict(os.environ)
            return
    with Cluster() as cluster:
        yield cluster.environment


def counted(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables with which each of Slurm's commands first notes in `folder` that it is called."""
    (folder / "bin").mkdir()
    for name in COMMANDS:
        command = shutil.which(name, path=environment["PATH"])
        if command is not None:
            path = folder / "bin" / name
            path.write_text(NOTED.format(name=name, calls=folder / "calls", command=command))
            path.chmod(0o755)
    return {**environment, "PATH": f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"}


def submitted(runs: int, words: list[str], folder: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Submit a sweep of so many runs, and return what that took, and the calls of each command."""
    calls = folder / "calls"
    calls.write_text("")
    widths = ",".join(f"0.{1000 + number}" for number in range(runs))
    line = [str(ROOT / "launch" / "slurm.py"), "-m", "+exp=demo_dnw", f"width={widths}", LATER, *words]
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, *line], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    wall_s, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall, s": wall_s, "CPU, s": cpu_s, **Counter(calls.read_text().split())}


def jobs(folder: Path) -> set[str]:
    """Return the ids of all jobs and arrays that runs went to."""
    notes = folder.glob("runs/*/*/launch.json")
    return {str(json.loads(note.read_bytes())["job"]).partition("_")[0] for note in notes}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="of the submit command")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "sweep_submission.json")
    options = parser.parse_args()
    words = options.words or [f"data.dir={ROOT / 'data' / 'fashion_mnist'}"]
    with tempfile.TemporaryDirectory() as name, slurm() as there:
        folder = Path(name)
        environment = counted(folder, there)
        record = {turn: submitted(options.runs, words, folder, environment) for turn in ("first", "again")}
        subprocess.run(["scancel", *jobs(folder)], env=there, check=True)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    table = Table(f"{options.runs} runs", *record)
    for what in dict.fromkeys(key for found in record.values() for key in found):
        table.add_row(what, *(f"{found.get(what, 0):.4g}" for found in record.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
