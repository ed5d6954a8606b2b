"""Binding to the processors beside a GPU, on machines that are made up."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dnw.hardware import numa
from dnw.hardware.numa import processors_beside

GPUS = ["0000:1b:00.0", "0000:1c:00.0", "0000:9b:00.0", "0000:9c:00.0"]


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Two nodes of eight processors with two GPUs each; numbered as with hyper-threading."""
    for node, cpus in enumerate(["0-3,8-11", "4-7,12-15"]):
        folder = tmp_path / f"devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpus}\n")
    for number, address in enumerate(GPUS):
        folder = tmp_path / "bus/pci/devices" / address
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text(f"{number // 2}\n")
    return tmp_path


def test_each_gets_the_processors_of_its_gpu(sysfs: Path) -> None:
    found = [processors_beside(GPUS, own, set(range(16)), 4, sysfs) for own in range(4)]
    assert found == [{0, 1, 2, 3, 8, 9, 10, 11}] * 2 + [{4, 5, 6, 7, 12, 13, 14, 15}] * 2


def test_none_outside_of_what_was_given(sysfs: Path) -> None:
    assert processors_beside(GPUS, 0, {1, 2, 5, 6, 9, 20}, 1, sysfs) == {1, 2, 9}


@pytest.mark.parametrize(("present", "each"), [({5, 6}, 1), ({0, 1, 2, 5, 6}, 2), (set(range(16)), 5)])
def test_too_few_for_all_who_share_them_are_left(sysfs: Path, present: set[int], each: int) -> None:
    assert processors_beside(GPUS, 0, present, each, sysfs) is None


def test_fewer_do_where_no_other_shares_them(sysfs: Path) -> None:
    assert processors_beside([GPUS[0], GPUS[2]], 0, {0, 1, 2, 5, 6}, 3, sysfs) == {0, 1, 2}


def test_one_node_or_an_unknown_one(sysfs: Path) -> None:
    everything = set(range(16))
    (sysfs / "bus/pci/devices" / GPUS[0] / "numa_node").write_text("-1\n")
    assert processors_beside(GPUS, 0, everything, 1, sysfs) is None
    assert processors_beside(["0000:ff:00.0"], 0, everything, 1, sysfs) is None
    second = sysfs / "devices/system/node/node1"
    (second / "cpulist").unlink()
    assert processors_beside(GPUS, 3, everything, 1, sysfs) is None
    second.rmdir()
    (sysfs / "bus/pci/devices" / GPUS[0] / "numa_node").write_text("0\n")
    assert processors_beside(GPUS, 0, everything, 1, sysfs) is None


def test_what_was_bound_is_said(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bound: list[set[int]] = []
    gpus = [SimpleNamespace(pci_domain_id=0, pci_bus_id=bus, pci_device_id=0) for bus in (0x1B, 0x9B)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", gpus.__getitem__)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: bound.append(cpus))
    monkeypatch.setattr(numa.processors_beside, "__defaults__", (sysfs,))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with caplog.at_level(logging.INFO):
        numa.bind(torch.device("cuda", 1), 8)
        numa.bind(torch.device("cuda", 1), 9)  # too many
        numa.bind(torch.device("cpu"), 1)
    assert bound == [{4, 5, 6, 7, 12, 13, 14, 15}]
    assert caplog.messages == ["bound to the 8 of 16 processors that are beside the GPU"]


@pytest.mark.gpu
def test_a_real_gpu_has_an_address() -> None:
    assert (numa.SYSFS / "bus/pci/devices" / numa._address(0)).exists()
