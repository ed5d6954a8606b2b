"""One process alone, and what it tells a group; several processes: tests/integration/test_exact.py."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from example import train
from torch.distributed import HashStore  # type: ignore[attr-defined]

from dnw import train as worker
from dnw.hardware import device
from dnw.hardware.device import GPUS
from dnw.hardware.health import Health, UnfitError
from dnw.training.distributed import ALONE, Agreement, World, _exchanged, _set_up_nccl, join, leave
from dnw.training.watchdog import patience_s


@pytest.fixture
def group() -> Iterator[World]:
    """A process that takes itself for one of two, in a real group that it has to itself."""
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield World(rank=0, size=2, nodes=1, device=torch.device("cpu"))
    leave()
    assert not dist.is_initialized()


class Counted:
    """A store that counts what it is asked."""

    def __init__(self) -> None:
        self.store, self.asked = HashStore(), Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self.store, name)


@pytest.mark.parametrize("size", [2, 512])
def test_ranks_tell_each_other_by_as_few_questions_however_many_they_are(size: int) -> None:
    """One process answers all of them: with a question of each rank for each, 512 would take a minute."""
    counted: Any = Counted()
    for rank in range(1, size):
        counted.store.set(str(rank), f"n{rank}")
    assert _exchanged(counted, 0, size, "n0") == [f"n{rank}" for rank in range(size)]
    assert counted.asked == {"set": 1, "wait": 1, "multi_get": 1}


def test_alone_it_is_all_there_is() -> None:
    tensor = torch.tensor([1.0, 2.0])
    assert ALONE.sum(tensor) is tensor
    ALONE.broadcast_(tensor)
    ALONE.barrier()
    assert tensor.tolist() == [1, 2]
    assert ALONE.is_first
    assert ALONE.gather([3, 1, 2]) == [3, 1, 2]
    assert ALONE.gather([]) == []
    assert ALONE.broadcast_int(-7) == -7


def test_started_without_torchrun_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv(GPUS, "0")
    assert join(600) == ALONE
    assert not dist.is_initialized()


@pytest.mark.parametrize("hangs", ["is_available", "set_device"])
def test_a_driver_that_hangs_is_its_nodes_fault(monkeypatch: pytest.MonkeyPatch, hangs: str) -> None:
    """Wherever it hangs, before the GPU is examined or when this process takes it first."""
    for name, value in {"WORLD_SIZE": "1", GPUS: "1", "DNW_NODE": "n7"}.items():
        monkeypatch.setenv(name, value)
    over = threading.Event()

    def hang(*_: object) -> Any:
        assert over.wait(20)

    def silent(_own: torch.device) -> Health:
        return Health("n7", "cuda:0", 0.0, {}, node_problems=[device.SILENT])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, hangs, hang)
    monkeypatch.setattr(device, "ANSWERS_WITHIN_S", 0.01)
    try:
        with pytest.raises(UnfitError, match=device.SILENT) as refused:
            join(600, examine=silent)
    finally:
        over.set()
    assert (refused.value.rank, refused.value.node) == (0, "n7")


def test_nothing_asks_the_driver_before_it_is_asked_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counter[str]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.update(["is_available"]))
    with torch.random.fork_rng(devices=[]):
        worker.configure(train(threads=torch.get_num_threads()))
    assert not asked


@pytest.mark.parametrize(("watchdog_s", "patience"), [(0, 1800), (60, 600), (300, 600), (900, 1800)])
def test_the_watchdog_speaks_before_the_time_out(watchdog_s: float, patience: float) -> None:
    assert patience_s(watchdog_s) == patience


def test_alone_a_wish_is_the_answer() -> None:
    agreement = Agreement(ALONE)
    assert agreement.exchange(True, False) == [True, False]
    assert agreement.settle(2) == [False, False]


def test_in_a_group_the_answer_comes_with_the_next_call(group: World) -> None:
    agreement = Agreement(group)
    assert agreement.exchange(True, False) == [False, False]
    assert agreement.exchange(False, True) == [True, False]
    assert agreement.settle(2) == [False, True]
    assert agreement.settle(2) == [False, False]


def test_numbers_are_gathered_in_the_order_of_ranks(group: World) -> None:
    assert group.gather([5, 6]) == [5, 6]  # the second process has told nothing
    assert World(rank=1, size=2, nodes=1, device=group.device).gather([7]) == [7]


@pytest.mark.parametrize("pins_sums", [False, True])
def test_what_nccl_reads_is_set_unless_the_user_has(pins_sums: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC", "NCCL_ALGO", "NCCL_PROTO")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is as it was afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("NCCL_PROTO", "LL")
    _set_up_nccl(700.4, pins_sums)
    assert [os.environ.get(name) for name in names] == ["700", "Ring" if pins_sums else None, "LL"]
