"""Copies to a GPU beside the computation: the order of what is asked of a device that is made up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Self

import pytest
import torch

from dnw.training.data import Batch, digest
from dnw.training.prefetch import on_device

GPU = torch.device("cuda", 0)


def batches(count: int, log: list[str]) -> Iterator[Batch]:
    for number in range(count):
        log.append(f"load {number}")
        images = torch.full((2, 3, 4, 4), number, dtype=torch.uint8)
        yield Batch(images, torch.tensor([number, number]), torch.tensor([number]))


class FakeTensor:
    """Notes, by the number it is full of, what is done with it."""

    def __init__(self, tensor: torch.Tensor, log: list[str]) -> None:
        self.number, self.log = int(tensor.flatten()[0]), log

    def to(self, device: torch.device, *, non_blocking: bool) -> Self:
        assert (device, non_blocking) == (GPU, True)
        self.log.append(f"copy {self.number} on {FakeStream.current.name}")
        return self

    def record_stream(self, stream: FakeStream) -> None:
        self.log.append(f"{self.number} used on {stream.name}")


class FakeStream:
    current: FakeStream

    def __init__(self, device: torch.device, name: str = "side") -> None:
        self.name = name

    def wait_event(self, event: FakeEvent) -> None:
        event.log.append(f"{self.name} waits for {event.number}")


class FakeEvent:
    made = 0
    log: list[str]

    def __init__(self) -> None:
        self.number = FakeEvent.made
        FakeEvent.made += 1

    def record(self, stream: FakeStream) -> None:
        self.log.append(f"event {self.number} on {stream.name}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the device."""
    asked: list[str] = []
    FakeStream.current = computing = FakeStream(GPU, "main")
    FakeEvent.made, FakeEvent.log = 0, asked

    @contextlib.contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        FakeStream.current = stream
        yield
        FakeStream.current = computing

    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: FakeStream.current)
    return asked


def test_a_batch_is_under_way_while_the_one_before_is_computed(log: list[str]) -> None:
    hosts = (
        Batch(FakeTensor(images, log), FakeTensor(labels, log), replaced)  # type: ignore[arg-type]
        for images, labels, replaced in batches(3, log)
    )
    for number, batch in enumerate(on_device(hosts, GPU)):
        log.append(f"compute {number}")
        assert batch.replaced_R.tolist() == [number]  # which the host reads
    coming = [["load {n}", "copy {n} on side", "copy {n} on side", "event {n} on side"]] * 3
    loads = [[line.format(n=n) for line in lines] for n, lines in enumerate(coming)]
    uses = [[f"main waits for {n}", *[f"{n} used on main"] * 2, f"compute {n}"] for n in range(3)]
    assert log == [*loads[0], *loads[1], *uses[0], *loads[2], *uses[1], *uses[2]]


def test_none_at_all(log: list[str]) -> None:
    assert list(on_device(iter(()), GPU)) == []


def test_on_a_cpu_nothing_changes_and_nothing_is_taken_ahead() -> None:
    loaded: list[str] = []
    source = batches(3, loaded)
    assert on_device(source, torch.device("cpu")) is source
    next(source)
    assert loaded == ["load 0"]


@pytest.mark.gpu
def test_a_real_gpu_computes_with_what_was_loaded() -> None:
    """Kernels that keep it busy while batches come; memory on both sides is used again meanwhile."""

    def made() -> Iterator[Batch]:
        for number in range(50):
            images = torch.full((64, 3, 224, 224), number, dtype=torch.uint8).pin_memory()
            yield Batch(images, torch.full((64,), number).pin_memory(), torch.zeros(0, dtype=torch.int64))

    busy = torch.randn(4096, 4096, device=GPU)
    expected = [digest(batch) for batch in made()]
    kept = []
    for batch in on_device(made(), GPU):
        for _ in range(10):
            busy = (busy @ busy).tanh()
        kept.append(batch.images_BCHW.long().sum() + batch.labels_B.sum())
    assert [int(one) for one in kept] == [n * 64 * (3 * 224 * 224 + 1) for n in range(50)]
    assert [digest(batch) for batch in on_device(made(), GPU)] == expected
