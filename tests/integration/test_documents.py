"""Every command that README.md shows is run here, on few images and for few steps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from documents import dry_run, environment, forked, typed, wait_for
from worker import ROOT

import dnw
from dnw import models, speed
from dnw.compose import training
from dnw.runs.folder import Run
from shards.index import Index
from shards.reader import Reader

README = (ROOT / "README.md").read_text()
SMALL = ["steps=4", "batch=32", "micro_batch=8", "data.workers=0"]

# CI's own command is `make test`, which does `make check` first; test_demo runs what `make demo` does.
MAKE = {"make demo", "make test", "make check", "make gpu"}

OF_A_FINISHED_RUN = {
    "python -m dnw.evaluate runs/demo_dnw/default-...": "top-1",
    "python -m dnw.evaluate runs/demo_dnw/default-... engine=native": "ms at batch 32",
}
OF_A_RUN_AT_WORK = {  # in this order, all of one run, which the last one ends
    "python launch/runs.py logs demo_dnw/default": "begins: attempt 1",
    "python launch/runs.py drill demo_dnw/default": "saved",
    "python launch/runs.py cancel demo_dnw/default": "saved",
}


def shown() -> list[str]:
    """The commands in README.md's indented blocks, without what is said about them."""
    lines = re.findall(r"^    (?:\$ )?((?:python|make|torchrun|git) .*)$", README, re.MULTILINE)
    return [line.split("#")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(runs: Path, few_images: Path) -> Run:
    """What `python launch/local.py +exp=demo_dnw nproc=2` leaves."""
    words = [*SMALL, f"data.dir={few_images}", f"runs_dir={runs}"]
    done = typed("python launch/local.py +exp=demo_dnw nproc=2", *words)
    assert "step 4/4" in "".join(path.read_text() for path in runs.glob("*/*/logs/*.log")) + done.stdout
    (folder,) = runs.glob("demo_dnw/*")
    return Run(folder)


@pytest.fixture(scope="module")
def at_work(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that doesn't end by itself, alone in its folder of runs."""
    runs_dir = tmp_path_factory.mktemp("at_work")
    few = [*SMALL[1:], "steps=100000", f"data.dir={few_images}", f"runs_dir={runs_dir}"]
    typed("python launch/slurm.py +exp=demo_dnw cluster=local nproc=2", *few)
    (folder,) = runs_dir.glob("demo_dnw/*")
    run = Run(folder)
    try:
        wait_for(run.metrics.exists)
        yield run
    finally:
        typed(f"python launch/runs.py cancel demo_dnw/{folder.name} --now", f"--runs-dir={runs_dir}")


@pytest.mark.xdist_group("readme")  # one run for all
@pytest.mark.parametrize("command", sorted(set(shown()) - MAKE - set(OF_A_RUN_AT_WORK)))
def test_command_of_the_readme(  # noqa: C901, PLR0912, PLR0915
    command: str, run: Run, runs: Path, few_images: Path, fashion_mnist_shards: Path, tmp_path: Path
) -> None:
    few = [f"data.dir={few_images}", f"runs_dir={runs}"]
    run_folder = str(run.folder)
    match command:
        case "python launch/local.py +exp=demo_dnw nproc=2":
            assert "finished" in typed(command, *SMALL, *few).stdout  # typed again
        case "python launch/slurm.py +exp=demo_dnw cluster=local nproc=2":
            typed(command, *SMALL, *few, "seed=1")
            wait_for(lambda: list(runs.glob("demo_dnw/*seed=1*/result.json")))
        case "python launch/slurm.py +exp=imagenet_dnw nodes=2":
            printed = dry_run(command, *few, "data.classes=10")
            assert "#SBATCH --nodes=2" in printed
        case "python launch/slurm.py +exp=demo_dnw nodes=2 dry_run=true":
            assert "#SBATCH --nodes=2" in dry_run(command, *few)
        case "python launch/slurm.py +exp=self_test nodes=2":
            assert "#SBATCH --nodes=2" in dry_run(command, f"runs_dir={runs}")
        case "python launch/slurm.py --help":
            assert "+exp=NAME" in typed(command).stdout
        case "python launch/runs.py status":
            assert "demo_dnw" in typed(command, f"--runs-dir={runs}").stdout
        case "python launch/runs.py tensorboard":
            look_at_tensorboard(command, runs)
        case "python launch/runs.py serve":
            look_at_status(command, runs)
        case _ if command in OF_A_FINISHED_RUN:
            words = command.replace("runs/demo_dnw/default-...", run_folder)
            printed = forked(words, first=measure_briefly).stdout
            assert OF_A_FINISHED_RUN[command] in printed
        case "python -m dnw.export runs/demo_dnw/default-... demo.safetensors":
            out = tmp_path / "demo.safetensors"
            words = command.replace("runs/demo_dnw/default-...", run_folder).replace(out.name, str(out))
            assert "edges, step 4" in forked(words).stdout
            assert dnw.load(out)(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 10)
        case "python -m dnw.profile +exp=imagenet_dnw width=0.225":
            assert json.loads(forked(command, "--json").stdout)["params"] == 1228367
        case "python launch/runs.py table":
            assert "demo_dnw" in typed(command, f"--runs-dir={runs}").stdout
        case "python -m dnw.import_reference published.pt +exp=imagenet_dnw width=0.225 dnw_x225.pt":
            published = as_the_paper_saves("+exp=imagenet_dnw", tmp_path / "published.pt")
            out = tmp_path / "dnw_x225.pt"
            forked(command.replace("published.pt", str(published)).replace("dnw_x225.pt", str(out)))
            assert json.loads(forked(f"python -m dnw.profile {out} --json").stdout)["params"] > 1_200_000
        case "python -m shards.write fashion_mnist auto data/fashion_mnist":
            out = shutil.copytree(fashion_mnist_shards, tmp_path / "out")  # written by the same function
            (out / "fashion_mnist-val-0003.tar").unlink()
            assert "27 of 28 shards" in typed(command.replace("data/fashion_mnist", str(out))).stdout
        case "python -m shards.write imagenet /data/imagenet data/imagenet":
            photographs = like_imagenet(tmp_path / "photographs", few_images)
            typed(command.replace("/data/imagenet data/imagenet", f"{photographs} {tmp_path / 'out'}"))
        case "python -m shards.verify data/imagenet":
            assert "whole: 5 shards" in typed(command.replace("data/imagenet", str(few_images))).stderr
        case "torchrun --standalone --nproc-per-node=2 -m dnw.train runs/demo_dnw/default-...":
            run.result.unlink()
            typed(command.replace("runs/demo_dnw/default-...", run_folder))
            assert run.result.exists()
        case _:
            pytest.fail(f"README.md shows a command that no test runs: {command}")


@pytest.mark.xdist_group("readme at work")
@pytest.mark.parametrize("command", OF_A_RUN_AT_WORK)
def test_command_of_the_readme_on_a_run_at_work(command: str, at_work: Run) -> None:
    assert command in shown()
    words = command.replace("default", at_work.folder.name)
    assert OF_A_RUN_AT_WORK[command] in typed(words, f"--runs-dir={at_work.folder.parents[1]}").stdout


def measure_briefly() -> None:
    """As often as a median needs, whatever time that takes."""
    speed.ENOUGH_S = 0.0


def as_the_paper_saves(experiment: str, path: Path) -> Path:
    """A checkpoint of the paper's own code, of an untrained network."""
    state = models.build(training([experiment])).state_dict()
    names = {name: name.replace("parametrizations.weight.original", "weight") for name in state}
    torch.save({"model": {f"module.{names[name]}": tensor for name, tensor in state.items()}}, path)
    return path


def like_imagenet(folder: Path, shards: Path) -> Path:
    """ImageNet's layout: train/ and val/, a folder per wnid, names that occur once."""
    for split in ("train", "val"):
        reader = Reader(Index.load(shards, split))
        for number in range(20):
            image = folder / split / f"n0000000{number % 2}" / f"n0000000{number % 2}_{split}{number}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(reader.read(number).data)
    return folder


@contextmanager
def serving(command: str, runs: Path) -> Iterator[str]:
    """The address at which a command serves the runs on loopback."""
    words = [*shlex.split(command), f"--runs-dir={runs}"]
    with subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            server.terminate()


def look_at_tensorboard(command: str, runs: Path) -> None:
    """Ask TensorBoard's own server for the curves."""
    with serving(command, runs) as address:

        def has_curves() -> bool:
            with urllib.request.urlopen(f"{address}data/plugin/scalars/tags") as answer:
                return any("train/loss" in tags for tags in json.load(answer).values())

        wait_for(has_curves, 60)


def look_at_status(command: str, runs: Path) -> None:
    """Ask for the rows that the page shows, and for the curves of one that trained."""
    with serving(command, runs) as address:
        with urllib.request.urlopen(f"{address}runs.json") as answer:
            rows = [row for row in json.load(answer)["rows"] if row["state"] == "finished"]
        with urllib.request.urlopen(f"{address}runs/{rows[0]['id']}") as answer:
            found = json.load(answer)
        assert found["attempts"][0]["cause"] == "done"
        assert found["attempts"][0]["last_step"] == 4
        assert rows[0]["cost"]["node_hours"] > 0


def test_demo(tmp_path: Path, few_images: Path) -> None:
    """`make demo`, for 12 steps on few images instead of 200 on many, with checkpoints as often."""
    shorter = [f"data.dir={few_images}", f"runs_dir={tmp_path}", "eval_every_epochs=99"]
    done = typed("python launch/demo.py steps=12 checkpoint.every_steps=4 log.every_steps=2", *shorter)
    assert "Killing worker" in done.stdout
    assert re.search(r"attempt 1: from step 0, killed \(by SIGKILL\)", done.stdout)
    assert re.search(r"attempt 2: from step [1-9]\d*, done", done.stdout)
    for model in ("demo_random x0.05", "demo_dnw x0.05"):
        assert re.search(rf"{model}\s+│\s+41.3k │ 2.66M │", done.stdout), done.stdout
    (picture,) = tmp_path.glob("demo_dnw/*/wiring.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Traceback" not in done.stderr


def test_bench_wirings(tmp_path: Path, few_images: Path) -> None:
    more = [*SMALL, f"data.dir={few_images}", f"runs_dir={tmp_path / 'runs'}"]
    done = typed(
        f"python bench/wirings.py demo_random demo_dnw+optim.lr=0.02 --seeds 1 --out {tmp_path / 'out.json'}",
        *("nproc=2", *more),
    )
    found = json.loads((tmp_path / "out.json").read_text())
    for wiring, (accuracy,) in found.items():
        assert re.search(rf"{re.escape(wiring)}\s+│ {accuracy:.2f}", done.stdout)
    assert found.keys() == {"demo_random", "demo_dnw+optim.lr=0.02"}


def test_bench_restart(tmp_path: Path, few_images: Path) -> None:
    out = tmp_path / "out.json"
    few = f"--kills 1 --every 1 --minutes 0.01 --nproc 1 --out {out} data.dir={few_images}"
    done = typed(f"python bench/restart.py demo_dnw {few}", *SMALL)
    found = json.loads(out.read_text())
    assert 0 < found["restart"]["claim"] < found["restart"]["start"] < found["restart"]["step"]
    assert 0 < found["restart"]["stalled"] <= found["restart"]["seconds"]
    assert 0 <= found["goodput"]["0.01"]["share"] < 1
    assert f"{found['on paper']['512']['share']:.2%}" in done.stdout


@pytest.mark.parametrize(
    ("words", "measured"),
    [
        ("steps.py static_dnw --images 4 --least 1 --seconds 0 --device cpu", "static_dnw"),
        ("inference.py --quick --engines native --peers 'ShuffleNetV2 x0.5' --rounds 1 --seconds 0", "rows"),
        ("drawing.py static_dnw width=0.02 --images 2 --turns 1", "static_dnw"),
        ("selection.py --sizes 1000 --turns 1 --device cpu", "1000"),
        ("sums.py --turns 1", "28 px, width 0.225"),
        ("train_step.py static_dnw --images 4 --turns 1 --threads 1 --device cpu", "experiments"),
        ("reduce.py static_dnw --processes 2 --images 4 --micro-batches 2 --turns 1", "static_dnw"),
        ("versions.py static_dnw data.image_size=16 --before HEAD --turns 2", "static_dnw"),
        ("agreement.py demo_dnw --turns 2 --steps 1", "demo_dnw"),
        ("large_job.py --followers 2 --answers 0 --late 1 --work 1", "2, answers after 0 s"),
        ("loader.py --images 192 --warm 1 --batches 1 --turns 1", "webdataset"),
        ("writing.py --images 40 --turns 1", "decoding"),
        ("status_page.py --runs 20 --lines 50 --open-ms 1", "1.0"),
    ],
)
def test_bench(words: str, measured: str, tmp_path: Path) -> None:
    out = tmp_path if words.startswith("inference") else tmp_path / "out.json"
    command = typed if words.startswith("large_job") else forked  # it measures processes without torch
    command(f"python bench/{words} --out {out}")
    assert measured in json.loads((out / "inference.json" if out.is_dir() else out).read_text())


def test_readme_shows_what_the_demo_prints() -> None:
    """Its figures are those of the first seed in docs/benchmarks.md."""
    measured = (ROOT / "docs" / "benchmarks.md").read_text()
    for wiring in ("random", "dnw"):
        shown = re.search(rf"demo_{wiring} x0\.05\s+│\s+41\.3k │ 2\.66M │\s+([\d.]+) %", README)
        assert shown
        assert f"| {wiring} | {shown[1]} |" in measured


def test_links_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
