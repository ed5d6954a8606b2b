"""What is looked for on nodes before the first step, and whose fault it is."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from example import train

from dnw.config.augmentation import Augmentation
from dnw.hardware import device, health, kernel_build
from dnw.hardware.health import Health, UnfitError, judge
from dnw.training.data import BatchBufferPool
from shards.index import Index

ROOT = Path(__file__).resolve().parents[4]
HERE = {"Python": "3.11.7", "torch": "2.13.0", "code": "0123456789"}
OTHER = HERE | {"torch": "2.12.0"}
CPU = torch.device("cpu")


def ranks(*versions: dict[str, str], each: int = 1) -> list[Health]:
    """Healthy ranks of nodes n1, n2, ... with these versions."""
    return [
        Health(f"n{node}", f"cuda:{local}", 100.0, found if local == 0 else {})
        for node, found in enumerate(versions, start=1)
        for local in range(each)
    ]


def test_this_machine_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNW_NODE", "n7")
    found = health.check(CPU, train(), tmp_path)
    assert (found.node, found.place, found.node_problems, found.run_problems) == ("n7", "n7, cpu", [], [])
    assert found.versions["torch"] == torch.__version__
    assert abs(found.time - time.time()) < 60
    assert judge([found]) == []
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert health.check(CPU, train(), tmp_path).versions == {}


def test_the_check_looks_at_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it waits, starts a process or asks another machine: that is why it takes no two seconds."""
    (tmp_path / "init.pt").write_bytes(b"1")
    done: Counter[str] = Counter()
    calls = [
        *[(io, "open"), (os, "scandir"), (shutil, "disk_usage")],
        *[(subprocess, "Popen"), (os, "fork"), (time, "sleep"), (socket, "socket"), (threading, "Thread")],
    ]
    for module, name in calls:
        monkeypatch.setattr(module, name, counted(getattr(module, name), name, done))
    settings = train()
    sources = [path for name in ("dnw", "shards") for path in (ROOT / name).rglob("*.py")]
    health.check(CPU, settings, tmp_path)
    folders = done.pop("scandir")
    assert done == {"open": len(sources), "disk_usage": 2}  # /dev/shm, and under the checkpoints
    assert folders < 200
    assert sum(path.stat().st_size for path in sources) < 4e6
    monkeypatch.setenv("LOCAL_RANK", "1")
    done.clear()
    health.check(CPU, settings, tmp_path)
    assert done == {}, "the first process of a node looks at it, alone"


def counted(function: Callable[..., Any], name: str, done: Counter[str]) -> Callable[..., Any]:
    def counting(*words: Any, **named: Any) -> Any:
        done[name] += 1
        return function(*words, **named)

    return counting


def test_a_node_that_fails() -> None:
    found = ranks(HERE, HERE, each=2)
    found[3] = dataclasses.replace(found[3], node_problems=["the GPU fails: ECC"])
    with pytest.raises(UnfitError, match=r"^rank 3 \(n2, cuda:1\): the GPU fails: ECC$") as refused:
        judge(found)
    assert (refused.value.rank, refused.value.node) == (3, "n2")


def test_what_all_nodes_share_is_no_nodes_fault() -> None:
    found = ranks(HERE, HERE)
    found[1] = dataclasses.replace(found[1], run_problems=["no space"])
    with pytest.raises(UnfitError) as refused:
        judge(found)
    assert (refused.value.rank, refused.value.node) == (1, None)


@pytest.mark.parametrize(
    ("versions", "rank", "node"),
    [((HERE, OTHER, HERE), 2, "n2"), ((OTHER, HERE, HERE), 0, "n1"), ((HERE, OTHER), 2, None)],
)
def test_other_versions(versions: tuple[dict[str, str], ...], rank: int, node: str | None) -> None:
    """The fewer are at fault; of two nodes nobody can tell which."""
    with pytest.raises(UnfitError, match=r"has torch 2.12.0, elsewhere 2.13.0$") as refused:
        judge(ranks(*versions, each=2))
    assert (refused.value.rank, refused.value.node) == (rank, node)


def test_a_clock_that_is_off_is_told() -> None:
    found = ranks(HERE, HERE, HERE)
    found[1] = dataclasses.replace(found[1], time=100.0 - 95)
    assert judge(found) == ["the clock of n2 is -95 s off those of the others: times mislead"]


def disk_of(free: int) -> object:
    return lambda _path: SimpleNamespace(free=free)


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = train(micro_batch=32, data__workers=2, eval_batch=8, steps=96)
    needed = 4 * 2 * 6 * 32 * 3 * settings.data.image_size**2
    monkeypatch.setattr(shutil, "disk_usage", disk_of(needed))
    assert health.shared_memory(settings, 4, 8, tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", disk_of(needed - 1))
    (told,) = health.shared_memory(settings, 4, 8, tmp_path)
    assert told.startswith(f"{tmp_path} has 0.0")
    assert "the loaders of 4 processes need 0.0" in told
    assert told.endswith("set a smaller data.workers or micro_batch")
    assert health.shared_memory(settings, 4, 8, tmp_path / "none") == []
    sized = dataclasses.replace(settings, augment=Augmentation(sizes=((0, 20), (1, 24))))
    assert health.shared_memory(sized, 4, 8, tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", disk_of(4 * 2 * 6 * 32 * 3 * 24**2 - 1))
    assert len(health.shared_memory(sized, 4, 8, tmp_path)) == 1


@pytest.mark.parametrize(
    ("changes", "batches"), [({"steps": 1}, 1), ({"steps": 3}, 2), ({"steps": None, "epochs": 1}, 6)]
)
def test_shared_memory_of_a_run_with_few_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], batches: int
) -> None:
    """Four micro-batches a step, of two ranks with four loaders each: no more is kept than there are."""
    settings = train(data__workers=4, eval_batch=8, **changes)
    needed = 2 * 4 * batches * 8 * 3 * settings.data.image_size**2
    monkeypatch.setattr(shutil, "disk_usage", disk_of(needed))
    assert health.shared_memory(settings, 2, 2, tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", disk_of(needed - 1))
    assert len(health.shared_memory(settings, 2, 2, tmp_path)) == 1


@pytest.mark.parametrize(("eval_batch", "batches"), [(50, 1), (12, 4), (7, 6), (51, 0)])
def test_shared_memory_of_evaluations(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eval_batch: int, batches: int
) -> None:
    """Of 50 images; how many batches a loader has of them is all that it can hold."""
    settings = train(micro_batch=1, data__workers=1, data__dir=few_images, eval_batch=eval_batch)
    pixels = 3 * settings.data.image_size**2
    needed = batches * eval_batch * pixels + (6 - batches) * pixels
    monkeypatch.setattr(shutil, "disk_usage", disk_of(needed))
    assert health.shared_memory(settings, 1, 1, tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", disk_of(needed - 1))
    (told,) = health.shared_memory(settings, 1, 1, tmp_path)
    assert told.endswith("eval_batch" if batches else "micro_batch")


def test_what_loaders_keep() -> None:
    assert BatchBufferPool()._rows.maxlen == health.KEPT


def test_the_disk_that_fetched_shards_go_to(
    tmp_path: Path, few_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two windows of a shard; what is there already needs no room."""
    place = tmp_path / "cache"
    changes = {"data__url": f"file://{few_images}", "data__cache": str(place), "data__window": 1}
    settings = train(data__dir=str(few_images), **changes)
    largest = max(shard.bytes for shard in Index.load(few_images, "train").shards)
    monkeypatch.setattr(shutil, "disk_usage", disk_of(2 * largest))
    assert health.cache(settings) == []
    monkeypatch.setattr(shutil, "disk_usage", disk_of(2 * largest - 1))
    (told,) = health.cache(settings)
    assert told.startswith(f"{tmp_path}: room for 0.00")
    place.mkdir()
    (place / "0123.tar").write_bytes(b"1")
    assert health.cache(settings) == []
    assert health.cache(train(data__dir=str(few_images))) == []


def test_a_disk_to_which_shards_can_not_be_fetched(
    tmp_path: Path, few_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    settings = train(data__dir=str(few_images), data__url=f"file://{few_images}", data__cache=str(tmp_path))
    assert health.cache(settings) == [
        f"{tmp_path}: can't be written to, and shards are to be fetched there (data.cache)"
    ]


def test_the_disk_under_the_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", disk_of(99))
    assert health.disk(tmp_path / "none") == []
    assert health.disk(tmp_path) == []
    (tmp_path / "init.pt").write_bytes(bytes(99))
    assert health.disk(tmp_path) == []
    (tmp_path / "step-00000001.pt").write_bytes(bytes(100))
    assert "a checkpoint takes 0.000: make room" in health.disk(tmp_path)[0]


def test_a_gpu_that_works_and_ones_that_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands for the GPU, but for what only CUDA tells."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (79e9, 80e9))
    assert health.gpu(CPU) == []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10e9, 80e9))
    assert health.gpu(CPU) == ["10 of 80 GB of the GPU are free: another process holds the rest"]

    def broken(_device: torch.device) -> tuple[float, float]:
        raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered\nCompile with")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert health.gpu(CPU) == ["the GPU fails: CUDA error: uncorrectable ECC error encountered"]
    monkeypatch.setattr(torch, "equal", lambda *_: False)
    assert health.gpu(CPU) == ["the GPU adds or copies wrongly"]


def test_a_node_on_which_kernels_cannot_be_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is unfit, before the first step; nothing is asked of the compiler where the GPU itself fails."""
    monkeypatch.setattr(kernel_build, "problem", lambda _device: "no C compiler; install gcc")
    monkeypatch.setattr(health, "gpu", lambda _device: [])
    found = health.check(torch.device("cuda", 0), train(), tmp_path)
    assert found.node_problems == ["no C compiler; install gcc"]
    monkeypatch.setattr(health, "gpu", lambda _device: ["the GPU fails"])
    assert health._of_gpu(torch.device("cuda", 0)) == ["the GPU fails"]


def test_a_gpu_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hangs(_device: torch.device) -> list[str]:
        over.wait()
        return []

    monkeypatch.setattr(device, "ANSWERS_WITHIN_S", 0.01)
    monkeypatch.setattr(health, "gpu", hangs)
    assert health._of_gpu(CPU) == ["no answer of the GPU within 0.01 s"]
    over.set()
