"""What no image reaches becomes a bias or a map."""

from __future__ import annotations

import pytest
from drawn_networks import (
    Oddity,
    drawn,
    one_thread,  # noqa: F401
)

from dnw.compact import compact

pytestmark = pytest.mark.usefixtures("one_thread")


def test_constants_differ_at_the_border() -> None:
    """A node that no image reaches, and that is read: its filter meets the zero border."""
    network = drawn("mobilenet", 32, oddity=Oddity(density=0.3, unfed=0.3))
    left = compact(network, 32)
    maps = [sums.maps for block in left.blocks for sums in block.sums if len(sums.mapped)]
    assert len(maps) > 5
    assert all((one[:, 0] != one[:, 1]).any() for one in maps)
