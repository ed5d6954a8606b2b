"""Reduce a trained network to the parts that affect its output, for engines to run (dnw/engines).

What describes such a network is there without torch; what reduces one brings it when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnw.compact.form import Compact, CompactBlock, CompactNodes, Head, InstanceNorm, Stem, Sums

if TYPE_CHECKING:
    from dnw.compact.networks import can_compact as can_compact
    from dnw.compact.reduction import compact as compact

__all__ = [  # what is there at once
    "Compact",
    "CompactBlock",
    "CompactNodes",
    "Head",
    "InstanceNorm",
    "Stem",
    "Sums",
]


def __getattr__(name: str) -> Any:
    match name:
        case "can_compact":
            from dnw.compact.networks import can_compact  # noqa: PLC0415

            return can_compact
        case "compact":
            from dnw.compact.reduction import compact  # noqa: PLC0415

            return compact
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
