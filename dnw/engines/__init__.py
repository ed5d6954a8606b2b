"""Engines: ways to compute the logits of a trained network, all of them equal, at their own speed.

    engine = build("auto", model, image_size=224, threads=1)
    logits_BK = engine(images_BCHW)

Shapes: images_BCHW normalized images [B, 3, image_size, image_size], logits_BK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnw.engines.names import NAMES

if TYPE_CHECKING:
    from dnw.engines.building import build as build
    from dnw.engines.engine import Engine as Engine

__all__ = ["NAMES"]  # what is there at once


def __getattr__(name: str) -> Any:
    """Bring torch only where it is needed: native on a CPU does without."""
    match name:
        case "build":
            from dnw.engines.building import build  # noqa: PLC0415

            return build
        case "Engine":
            from dnw.engines.engine import Engine  # noqa: PLC0415

            return Engine
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
