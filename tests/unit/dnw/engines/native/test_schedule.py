"""The order of strips of maps."""

from __future__ import annotations

from dnw.compact import Compact
from dnw.engines.native.plan import plan


def test_every_strip_is_computed_once_and_after_what_it_needs(network: Compact) -> None:
    found = plan(network.arrays(), threads=1)
    given = [0] * len(found.phases)
    for step in found.steps:
        at = step["phase"]
        phase = found.phases[at]
        assert step["top"] == given[at]
        if at:
            rows = min((step["bottom"] - 1) * phase["stride"] + 2, phase["received_side"])
            assert given[at - 1] >= rows
        given[at] = step["bottom"]
    assert given == [phase["side"] for phase in found.phases]
