"""The fastest engine: measured once per batch size, and remembered."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from drawn_networks import (
    drawn,
    error,
    images,
    one_thread,  # noqa: F401
)
from torch import Tensor

from dnw.engines import build
from dnw.engines.auto import Auto

pytestmark = pytest.mark.usefixtures("one_thread")


def test_auto_in_bf16_takes_one_that_can() -> None:
    network = drawn("static", 32, oddity=None)
    auto = build("auto", network, 32, precision="bf16")
    x = images(2, 32)
    assert error(auto(x), build("compact", network, 32)(x)) < 0.1
    assert isinstance(auto.run, Auto)
    assert auto.run.winners[2] in ("native", "dense", "compact")


def test_auto_measures_once_per_batch_size(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    calls = []

    def engine(name: str, seconds: float) -> object:
        def run(images_BCHW: Tensor) -> Tensor:
            calls.append(name)
            time.sleep(seconds * len(images_BCHW) if name == "grows" else seconds)
            return images_BCHW.sum((2, 3))

        return run

    candidates = {"grows": engine("grows", 0.005), "steady": engine("steady", 0.02)}
    kept = tmp_path / "cache" / "winners.json"
    auto = Auto(candidates, kept)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO):
        auto(images(1, 4))
        auto(images(9, 4))
    assert auto.winners == {1: "grows", 9: "steady"}
    assert "engine grows for batches of 1: grows 5." in caplog.text
    calls.clear()
    for batch in (1, 9, 9, 1):
        auto(images(batch, 4))
    assert calls == ["grows", "steady", "steady", "grows"]
    calls.clear()
    Auto(candidates, kept)(images(9, 4))  # type: ignore[arg-type]
    assert calls == ["steady"]  # another process needn't measure


def test_a_memory_that_cannot_be_written_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    auto = Auto({"only": lambda images_BCHW: images_BCHW.flatten(1)}, tmp_path / "cache" / "winners.json")
    auto(images(1, 4))
    assert auto.winners == {1: "only"}
    assert "can't be kept" in caplog.text
