from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dnw.config import Train
from dnw.self_test import batches
from dnw.self_test.measure import Setup
from dnw.self_test.training import loader
from dnw.training.data import Batch
from dnw.training.distributed import World


@pytest.mark.parametrize("is_faulty", [False, True])
def test_a_changed_pixel_is_found(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch, is_faulty: bool
) -> None:
    monkeypatch.setattr(batches, "SLOW_S", 0.0)
    found = batches.measure(setup(is_faulty=is_faulty))
    assert found.is_right == (not is_faulty)
    assert found.figure == f"{int(is_faulty)} of 8 micro-batches differ, 2 loaders, 0 ms each"


def test_a_batch_whose_memory_is_used_again_is_found(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be if loaders wrote into what the consumer still holds: the fault that is looked for."""

    def overwritten(train: Train, world: World, steps: int, workers: int) -> Iterator[Batch]:
        before = None
        for batch in loader(train, world, steps, workers):
            if workers and before is not None:
                before.images_BCHW.copy_(batch.images_BCHW)
            before = batch
            yield batch

    monkeypatch.setattr(batches, "SLOW_S", 0.0)
    monkeypatch.setattr(batches, "loader", overwritten)
    found = batches.measure(setup(is_faulty=False))
    assert not found.is_right
    assert found.figure.startswith("7 of 8")
