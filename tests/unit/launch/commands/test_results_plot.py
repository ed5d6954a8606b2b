from pathlib import Path
from typing import Any

import pytest
from run_folder import finish, make

from launch.commands.published import ROWS
from launch.commands.results import rows, select_finished
from launch.commands.results_plot import draw, points
from launch.errors import LaunchError


def done(runs_dir: Path, name: str, top1: float, **changes: Any) -> None:
    """A finished run."""
    run = make(runs_dir, name, "static_dnw", **{"data__name": "cifar10", **changes})
    finish(run, top1=top1, params=41_288, macs=2_660_000)


def test_what_is_drawn(tmp_path: Path) -> None:
    done(tmp_path, "default-0000000000", 80.0)
    done(tmp_path, "default-1111111111", 60.0, model__name="mobilenet", width=0.225, data__name="imagenet")
    found = points(rows(select_finished([], tmp_path))[0])
    assert [point.top1 for point in found if point.data == "cifar10"] == [80.0, 80.9]
    ours, *theirs = [point for point in found if point.data == "imagenet"]
    assert (ours.kind, ours.is_published) == ("mobilenet, dnw", False)
    assert all(point.is_published for point in theirs)
    assert {(point.macs, point.top1) for point in theirs} == {
        (row.macs, row.top1) for row in ROWS if row.macs is not None
    }
    assert len(set(theirs)) == len(theirs)


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="--plot: no finished runs to draw"):
        draw([], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
