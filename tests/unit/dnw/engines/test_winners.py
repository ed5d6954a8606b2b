"""Which engine was fastest, as it is kept on disk."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from drawn_networks import (
    drawn,
    images,
    one_thread,  # noqa: F401
)

from dnw.compact import compact
from dnw.engines import build, winners

pytestmark = pytest.mark.usefixtures("one_thread")


def test_what_is_remembered_is_of_this_network_on_this_machine(cache: Path) -> None:
    one, same, other = (drawn("static", 32, oddity=None, seed=seed) for seed in (0, 0, 1))
    for network in (one, same, other):
        build("auto", network, 32)(images(1, 32))
    assert len(list((cache / "dnw" / "engines").glob("*.json"))) >= 2
    left = compact(one, 32)
    place = functools.partial(winners.place, left, ["csr", "compact"])
    assert place(1, "fp32") == winners.place(compact(same, 32), ["compact", "csr"], 1, "fp32")
    assert len({place(1, "fp32"), place(2, "fp32"), place(1, "bf16")}) == 3
    assert place(1, "fp32") != winners.place(compact(other, 32), ["compact", "csr"], 1, "fp32")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"one": "csr"}', "\xff"])
def test_a_damaged_memory_is_measured_anew(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "winners.json"
    kept.write_bytes(content.encode("latin-1"))
    assert winners.load(kept) == {}
    assert "measured anew" in caplog.text
    winners.keep(kept, 3, "csr")
    assert winners.load(kept) == {3: "csr"}


@pytest.mark.usefixtures("without_a_home")
def test_without_a_home_folder_nothing_is_remembered() -> None:
    network = drawn("static", 32, oddity=None)
    auto = build("auto", network, 32)
    assert auto(images(1, 32)).shape[0] == 1
    assert winners.place(compact(network, 32), ["csr"], 1, "fp32") is None
