import os
from pathlib import Path

import pytest

from launch.commands import plot
from launch.errors import LaunchError


def test_panels_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, axes = plot.panels(3)
    width, height = figure.get_size_inches()
    assert (width, height) == pytest.approx((3 * 6.4, 4.4))
    lefts = [one.get_position().x0 for one in axes]
    assert lefts == sorted(lefts)
    path = tmp_path / "a.PNG"
    plot.check(path)
    plot.write(figure, path)
    assert path.read_bytes()[16:24] == (2880).to_bytes(4, "big") + (660).to_bytes(4, "big")  # pixels
    assert capsys.readouterr().err == f"drawn: {path}\n"


def test_what_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        LaunchError, match=rf"^--plot: {tmp_path}/none/a\.svg: not written, {os.strerror(2)}$"
    ):
        plot.write(plot.panels(1)[0], tmp_path / "none" / "a.svg")
    with pytest.raises(LaunchError, match=r"names no kind of picture; end it with one of \.png"):
        plot.check(tmp_path / "a.gif")
