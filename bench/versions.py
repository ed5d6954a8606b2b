"""A training step of this version against one of an earlier version, in turns, and a checkpoint across both.

    python bench/versions.py static_dnw cifar_dnw data.image_size=16

The earlier version is a commit of this repository, by default the last one without optimizers, schedules and
wirings of today; experiments and settings are ones that it knows. Both take the same steps on noise, one
process each, first the one, then the other. A ratio is that of the CPU time of the two steps of a turn: the
median over turns, and the quartiles. Then the earlier version saves, this one goes on from there, and both
take the same step: whether they come to the same bits. Writes bench/out/versions.json (--out).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "955e4c0^"  # the last commit without parts of recipes
IMAGES = 64
SAMPLES = 50_000


def worker(tree: str, words: list[str]) -> None:
    """Do what is asked for, line by line, with the version in a folder."""
    sys.path[0] = tree
    import torch  # noqa: PLC0415

    from dnw import models  # noqa: PLC0415
    from dnw.compose import training  # noqa: PLC0415
    from dnw.hardware import memory  # noqa: PLC0415
    from dnw.training import checkpoint  # noqa: PLC0415
    from dnw.training.data import Batch  # noqa: PLC0415
    from dnw.training.distributed import ALONE  # noqa: PLC0415
    from dnw.training.trainer import Trainer  # noqa: PLC0415

    assert Path(models.__file__).is_relative_to(tree)
    torch.set_num_threads(1)
    memory.keep_freed()  # as training does
    train = training([*words, "data.workers=0", f"batch={IMAGES}", f"micro_batch={IMAGES}"])
    trainer = Trainer(train, models.build(train), ALONE, SAMPLES)
    trainer.begin()
    side, random = train.data.image_size, torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (IMAGES, 3, side, side), dtype=torch.uint8, generator=random)
    batch = Batch(noise, torch.arange(IMAGES) % train.data.classes, torch.empty(0, dtype=torch.int64))
    for line in sys.stdin:
        match line.split():
            case ["step"]:
                began = time.process_time()
                trainer.step(itertools.repeat(batch))
                print(time.process_time() - began, flush=True)
            case ["save", path]:
                saved = trainer.snapshot(checkpoint.Identity("", "", "", ""))
                checkpoint.write(Path(path), checkpoint.encode(saved))
                print(path, flush=True)
            case ["restore", path]:
                trainer.restore(checkpoint.read(Path(path)))
                print(path, flush=True)
            case ["digest"]:
                saved = trainer.snapshot(checkpoint.Identity("", "", "", ""))
                momenta = [one["momentum_buffer"] for one in saved.optimizer["state"].values()]
                found = hashlib.sha256()
                for tensor in (*saved.model.values(), *momenta):
                    found.update(tensor.contiguous().numpy().tobytes())
                print(found.hexdigest(), flush=True)


class Version:
    """A process with a version, which takes steps."""

    def __init__(self, tree: Path, words: list[str]) -> None:
        line = [sys.executable, str(Path(__file__).resolve()), "--worker", str(tree), *words]
        self.process = subprocess.Popen(
            line, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"the version ended with exit code {self.process.wait()}: see above")
        return answer


@contextlib.contextmanager
def running(tree: Path, words: list[str]) -> Iterator[Version]:
    """Have a version at work."""
    made = Version(tree, words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def compare(before: Path, words: list[str], turns: int) -> dict[str, Any]:
    """Take steps in turns, then go on from what the earlier version has saved."""
    with running(before, words) as old, running(ROOT, words) as new:
        ratios = []
        for turn in range(turns + 1):
            first, second = (float(one.ask("step")) for one in (old, new))
            if turn:  # the first one allocates
                ratios.append(second / first)
        with tempfile.TemporaryDirectory() as folder:
            new.ask("restore " + old.ask(f"save {folder}/checkpoint.pt"))
        for one in (old, new):
            one.ask("step")
        same = old.ask("digest") == new.ask("digest")
    least, middle, most = statistics.quantiles(ratios, n=4)
    return {"ratio": middle, "quartiles": [least, most], "same bits": same}


def exported(commit: str, folder: Path) -> Path:
    """Write the tree of a commit to a folder."""
    done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{commit}: {done.stderr.decode().strip()}; name a commit of this repository")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument(
        "--before", default=BEFORE, metavar="COMMIT", help="the earlier version  [%(default)s]"
    )
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "versions.json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args()
    if options.worker:
        worker(options.worker, options.words)
        return
    settings = [word for word in options.words if "=" in word]
    record = {}
    with tempfile.TemporaryDirectory() as folder:
        before = exported(options.before, Path(folder))
        for experiment in [word for word in options.words if "=" not in word] or ["static_dnw", "cifar_dnw"]:
            found = compare(before, [f"+exp={experiment}", *settings], options.turns)
            record[experiment] = found
            least, most = found["quartiles"]
            bits = "the same bits" if found["same bits"] else "OTHER BITS"
            print(
                f"{experiment}: {found['ratio']:.3f} of the time ({least:.3f} to {most:.3f}), {bits}",
                flush=True,
            )
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({"before": options.before, **record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
