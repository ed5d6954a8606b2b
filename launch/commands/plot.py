"""Drawings for files: what they need, and how they get there."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from launch.errors import LaunchError
from shards.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = (6.4, 4.4)
PIXELS_PER_INCH = 150
FORMS = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Refuse a file that nothing can be drawn into, before there is work to lose.

    Raises:
        LaunchError: its form is not known, its folder isn't there, or matplotlib isn't installed.
    """
    if path.suffix.lower() not in FORMS:
        raise LaunchError(f"--plot: {path} names no kind of picture; end it with one of {', '.join(FORMS)}")
    if not path.parent.is_dir():
        raise LaunchError(f"--plot: {path.parent}: no such folder")
    if find_spec("matplotlib") is None:
        raise LaunchError("--plot: matplotlib is not installed here; pip install matplotlib")


def panels(count: int) -> tuple[Figure, list[Axes]]:
    """Make an empty drawing with so many panels, from left to right."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(count * PANEL_INCHES[0], PANEL_INCHES[1]), layout="constrained")
    made = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for one in made:
        one.grid(alpha=0.3)
    return figure, made


def write(figure: Figure, path: Path) -> None:
    """Put a drawing into a file, whole or not at all, and say so.

    Raises:
        LaunchError: it can't be written.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=PIXELS_PER_INCH)
    try:
        with replacing(path) as file:
            file.write(drawn.getvalue())
    except OSError as error:
        raise LaunchError(f"--plot: {path}: not written, {error.strerror}") from None
    print(f"drawn: {path}", file=sys.stderr)
