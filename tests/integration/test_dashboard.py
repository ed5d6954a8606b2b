"""TensorBoard over runs, as a browser shows it."""

from __future__ import annotations

import json
import math
import os
import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from documents import wait_for
from example import train
from integration.browser import BROWSER, look, serving
from slurm import packages
from torch.utils.tensorboard import SummaryWriter

from dnw.config import dump
from dnw.runs.folder import Run
from dnw.training.monitoring import dashboard

NAMES = ("demo_dnw/seed=1,width=0.1-0123456789", "demo_random/default-9876543210")


def draw(folder: Path, scale: float) -> None:
    """What a run of 50 steps leaves for TensorBoard."""
    run = Run(folder)
    folder.mkdir(parents=True)
    run.config.write_text(dump(train()))
    with SummaryWriter(str(run.tensorboard)) as writer:
        dashboard.introduce(writer, run, train(), 0)
        for step in range(51):
            writer.add_scalar("train/loss", 2.3 * math.exp(-step / 10) * scale, step)
            writer.add_scalar("val/top1", 90 * (1 - math.exp(-step / 10)) * scale, step)
        writer.add_image(
            "wiring/block1", np.eye(64, dtype=np.uint8)[..., None].repeat(3, 2) * 255, 50, dataformats="HWC"
        )


def has_read(address: str) -> bool:
    """Whether a TensorBoard has read all of the runs."""
    with urllib.request.urlopen(f"{address}data/plugin/images/tags") as answer:
        return len(json.load(answer)) == len(NAMES)


@pytest.mark.skipif(bool(packages.missing(packages.BROWSER)), reason=f"{BROWSER}: not there")
def test_the_page_shows_the_curves(tmp_path: Path) -> None:
    for name, scale in zip(NAMES, (1.0, 0.9), strict=True):
        draw(tmp_path / "runs" / name, scale)
    screenshot = Path(os.environ.get("DNW_SCREENSHOTS", tmp_path)) / "tensorboard.png"
    with serving("tensorboard", tmp_path / "runs") as address:
        wait_for(lambda: has_read(address), 60)
        pages = (
            look(address, screenshot) for _ in range(3)
        )  # a busy TensorBoard may answer too late for one
        page = next((one for one in pages if "<scalar-card " in one), "")
    cards = re.findall(r"<scalar-card .*?</scalar-card>", page, re.DOTALL)
    by_tag = {tag: card for card in cards for tag in re.findall(r'class="tag"[^>]*title="([^"]+)"', card)}
    assert by_tag.keys() == {"train/loss", "val/top1"}
    for card in by_tag.values():
        assert len(re.findall(r"<path d=\"M[\d.-]+,[\d.-]+L", card)) >= len(NAMES)
        assert all(name in re.sub(r"<[^>]*>|\s", "", card) for name in NAMES)
    tabs = re.findall(r'aria-disabled="(true|false)"(?:(?!aria-disabled).)*? data-plugin-id="([^"]+)"', page)
    enabled = {plugin for disabled, plugin in tabs if disabled == "false"}
    assert enabled == {"timeseries", "scalars", "custom_scalars", "images", "text", "hparams"}
    assert screenshot.read_bytes().startswith(b"\x89PNG")
