from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from example import train as example

from dnw.self_test.measure import Setup
from dnw.training.distributed import ALONE
from shards.sources.generated import generated
from shards.write import write


@pytest.fixture(scope="session")
def generated_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images as the self-test writes them, but fewer."""
    folder = tmp_path_factory.mktemp("generated")
    write(generated(40, 36, {"train": 32, "val": 4}), folder, shard_samples=16, seed=0, workers=0)
    return folder


@pytest.fixture
def setup(generated_images: Path) -> Callable[..., Setup]:
    """Return what makes a measurement by this process alone, of steps of two micro-batches of two images."""

    def made(*, is_faulty: bool, image_size: int = 16, **changes: str) -> Setup:
        images = {"data__dir": str(generated_images), "data__augment": "resized_crop_flip"}
        sizes = {"data__image_size": image_size, "batch": 4, "micro_batch": 2}
        return Setup(example(**images, **sizes, **changes), ALONE, is_faulty)

    return made
