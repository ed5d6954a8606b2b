"""reduce=exact: whatever the number of processes, and however it changes on the way, the same bits.

All networks in both precisions take many minutes on a CPU without bf16 instructions: `make soak`.
"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from _pytest.mark import ParameterSet
from worker import SERVER, assert_same_weights, digests, losses, prepare, train

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.distributed import ALONE, World
from dnw.training.tree_reduce import TreeSum

# A step is 8 micro-batches.
CHANGES: dict[str, Any] = {
    **{"reduce": "exact", "steps": 8, "batch": 16, "micro_batch": 2, "eval_batch": 20},
    **{"checkpoint__every_steps": 2, "log__digests": True, "log__every_steps": 1},
}
SHORT = {"steps": 4, "checkpoint__every_steps": 1}
SMALL = {"data__image_size": 16, "data__augment": "resized_crop_flip", "micro_batch": 1, "batch": 8}
STATIC: dict[str, Any] = {"model": {"name": "static"}}
CONTINUOUS: dict[str, Any] = {"model": {"name": "continuous"}, **SHORT, **SMALL}
MOBILENET: dict[str, Any] = {"model": {"name": "mobilenet"}, **SHORT}
BF16 = {"precision": "bf16"}
AUGMENTED = {
    "augment": {
        **{"color_jitter": 0.4, "randaugment_ops": 2, "random_erase": 0.5},
        **{"mixup": 0.2, "cutmix": 1.0, "mix_prob": 0.9},
        "sizes": [[0, 16], [0.2, 24]],  # of the third step on
    },
    "data__eval_size": 24,
}
QUICK = [
    pytest.param(STATIC, id="static"),
    pytest.param(STATIC | BF16 | SHORT | AUGMENTED, id="static-bf16-augmented"),
    pytest.param(CONTINUOUS, id="continuous"),
    pytest.param(MOBILENET, id="mobilenet"),
]
# Processes of the attempts; each draws and chooses the whole network again, which takes most of the time.
MANY, FEW = (4, 2, 1, 8), (2, 1, 4)
SLOW = [
    pytest.param(CONTINUOUS | BF16, id="continuous-bf16", marks=pytest.mark.soak),
    pytest.param(MOBILENET | BF16, id="mobilenet-bf16", marks=pytest.mark.soak),
]


def slow(case: ParameterSet) -> ParameterSet:
    return pytest.param(*case.values, id=case.id, marks=pytest.mark.soak)


def worker_of(changes: dict[str, Any]) -> str:
    return "workers.small" if changes["model"]["name"] == "mobilenet" else "dnw.train"


def finished(folder: Path, images: Path, changes: dict[str, Any], world: int) -> Run:
    run = prepare(folder, images, **CHANGES | changes)
    code, output = train(run, world, worker=worker_of(changes))
    assert code == 0, output
    return run


@pytest.mark.timeout(900)
@pytest.mark.parametrize("changes", QUICK + SLOW)
def test_on_changing_processes_killed_in_between(
    tmp_path: Path, few_images: Path, changes: dict[str, Any]
) -> None:
    """Each attempt does a step at least, of which some are lost."""
    worker = worker_of(changes)
    worlds = MANY if changes == STATIC else FEW
    whole = finished(tmp_path / "whole", few_images, changes, worlds[0])
    broken = prepare(tmp_path / "broken", few_images, **CHANGES | changes)
    draw, every = random.Random(str(changes)), {**CHANGES, **changes}["checkpoint__every_steps"]
    for world, saved in zip(worlds[:-1], count(every, every), strict=False):
        fault = f"{draw.randrange(world)}:step {draw.randint(saved + 1, saved + every)}"
        assert train(broken, world, fault, worker)[0] != 0
    code, output = train(broken, worlds[-1], worker=worker)
    assert code == 0, output
    assert tuple(attempt.start["world"] for attempt in ledger.read(broken)) == worlds
    assert_same(broken, whole)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("changes", [QUICK[0], *map(slow, QUICK[1:]), *SLOW])
def test_on_any_number_of_processes(tmp_path: Path, few_images: Path, changes: dict[str, Any]) -> None:
    runs = [finished(tmp_path / f"{world}", few_images, changes, world) for world in (1, 2, 4, 8)]
    for run in runs[1:]:
        assert_same(run, runs[0])


def test_processes_that_cannot_share_a_step_are_refused_by_the_worker(
    tmp_path: Path, few_images: Path
) -> None:
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    code, output = train(run, 3)
    assert code == 1
    assert "3 processes can't share the 8 micro-batches of a step" in output
    assert "reduce=exact); these numbers of processes can: 1, 2, 4, 8" in output
    assert ledger.last(run).reason == "error"


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path: Path, few_images: Path) -> None:
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    path = step_path(run.checkpoints, 4)
    assert train(run, 1, f"0:step 5:::{path}")[0] != 0
    saved = checkpoint.read(path)
    checkpoint.write(path, checkpoint.encode(replace(saved, machine=saved.machine | {"torch": "1.0"})))
    code, output = train(run, 1)
    assert code == 0, output
    assert f"end here\n  torch: 1.0 before, {torch.__version__} now\n" in output
    assert checkpoint.read(step_path(run.checkpoints, 8)).machine == saved.machine


@pytest.mark.parametrize("size", [2, 4, 8])
def test_gloo_gives_the_bits_of_one_process(tmp_path: Path, size: int) -> None:
    """Of fewer entries than processes, too."""
    processes = [SERVER.Process(target=sums, args=(rank, size, tmp_path)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    expected = [summed(length, ALONE) for length in LENGTHS]
    for rank in range(size):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert all(map(torch.equal, found, expected))


LENGTHS = (1, 3, 1000)


def sums(rank: int, size: int, folder: Path) -> None:
    """What one of the processes does."""
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    world = World(rank, size, 1, torch.device("cpu"))
    torch.save([summed(length, world) for length in LENGTHS], folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def summed(length: int, world: World) -> torch.Tensor:
    summands = torch.randn(24, length, generator=torch.Generator().manual_seed(length))
    vector = torch.empty(length)
    tree = TreeSum(vector, len(summands), world)
    share = len(summands) // world.size
    for number in range(share):
        vector.copy_(summands[world.rank * share + number])
        tree.add(number)
    tree.across()
    return vector


def assert_same(ours: Run, theirs: Run) -> None:
    assert_same_weights(ours, theirs)
    assert losses(ours) == losses(theirs)
    assert digests(ours) == digests(theirs)
    assert evaluations(ours) == evaluations(theirs)


def evaluations(run: Run) -> list[tuple[float, ...]]:
    found = [line for line in jsonl.read(run.metrics) if line["kind"] == "val"]
    assert found
    return [tuple(line[name] for name in ("step", "top1", "top5", "loss")) for line in found]
