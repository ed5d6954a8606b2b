"""Which device a process takes, and what it says where it can't have the one it was launched for."""

import os
import warnings
from pathlib import Path

import pytest
import torch

from dnw.hardware import device
from dnw.hardware.device import DeviceError
from dnw.training import distributed, watchdog

OLD = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC 12.2.0\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build\n"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine on which CUDA finds two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return 2


@pytest.mark.parametrize(("told", "version"), [(OLD, "535.104.05"), (OPEN, "570.86"), (None, "no driver")])
def test_driver_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str | None, version: str
) -> None:
    file = tmp_path / "version"
    if told:
        file.write_text(told)
    monkeypatch.setattr(device, "_DRIVER", file)
    assert device.driver_version() == version


def test_without_a_word_the_gpu_is_taken_where_there_is_one(gpus: int) -> None:
    assert device.choose({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}) == torch.device("cuda", 1)
    assert device.choose({}) == torch.device("cuda", 0)


def test_without_a_word_and_without_cuda_it_is_the_cpu() -> None:
    assert device.choose({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}) == torch.device("cpu")


def test_a_run_that_is_to_train_on_the_cpu_does(gpus: int) -> None:
    assert device.choose({"DNW_GPUS": "0"}) == torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "in_fp32", "in_bf16"),
    [((6, 0), False, False), ((7, 0), True, False), ((7, 5), True, False), ((8, 0), True, True)],
)
def test_kernels_are_compiled_for_what_triton_knows(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], in_fp32: bool, in_bf16: bool
) -> None:
    """P100 and V100: bf16 there is emulated by torch, and refused by ptxas."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    asked = device.takes_kernels.__wrapped__
    gpu = torch.device("cuda", 0)
    assert asked(gpu) is in_fp32
    assert asked(gpu, torch.bfloat16) is in_bf16
    monkeypatch.setattr(device, "HAS_TRITON", False)
    assert not asked(gpu)
    assert not asked(torch.device("cpu"))


def test_gpus_that_were_asked_for_and_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "_DRIVER", tmp_path / "none")
    with pytest.raises(
        ValueError, match=r"^8 GPUs a node were asked for, but CUDA can't be used: "
    ) as raised:
        device.choose({"DNW_GPUS": "8", "CUDA_VISIBLE_DEVICES": "0,1"})
    said = str(raised.value)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    assert f"no driver, torch {torch.__version__} {built}, CUDA_VISIBLE_DEVICES '0,1'" in said
    assert "\n" not in said
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES not set"):
        device.choose({"DNW_GPUS": "8"})


def test_what_torch_warns_of_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old (found version 9000).", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", complain)
    with pytest.raises(ValueError, match=r"driver on your system is too old \(found version 9000\)"):
        device.choose({"DNW_GPUS": "1"})


@pytest.mark.parametrize("asked", [{"DNW_GPUS": "2"}, {}])
def test_fewer_gpus_than_processes(gpus: int, asked: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^4 processes on this node, but 2 GPUs to be seen: "):
        device.choose({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", **asked})


@pytest.mark.parametrize("told", [["cpu", "cpu"], ["cuda"], ["cuda", "cuda", "cuda"]])
def test_processes_of_one_kind(told: list[str]) -> None:
    device.check_alike(told)


def test_processes_of_several_kinds_are_named() -> None:
    with pytest.raises(DeviceError, match=r"\(ranks 0, 1: cuda, rank 2: cpu\); Ask for a GPU") as raised:
        device.check_alike(["cuda", "cuda", "cpu"])
    assert raised.value.rank == 2


def test_who_has_no_device_is_named() -> None:
    with pytest.raises(DeviceError, match=r"^ranks 1, 3: no driver; rank 2: 2 GPUs\. Ask") as raised:
        device.check_alike(["cuda", "no driver", "2 GPUs", "no driver"])
    assert raised.value.rank == 1


@pytest.mark.parametrize(("watchdog_s", "patience_s"), [(600, 1200), (20, 600), (0, 1800)])
def test_the_watchdog_speaks_before_a_collective_times_out(watchdog_s: float, patience_s: float) -> None:
    assert watchdog.patience_s(watchdog_s) == patience_s


def test_what_nccl_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("NCCL_ALGO", "NCCL_PROTO", "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC")
    environment = {"NCCL_PROTO": "LL128"}
    monkeypatch.setattr(os, "environ", environment)
    distributed._set_up_nccl(1200, pins_sums=False)
    assert [environment.get(name) for name in names] == [None, "LL128", "1200"]
    distributed._set_up_nccl(1200, pins_sums=True)
    assert [environment.get(name) for name in names] == ["Ring", "LL128", "1200"]  # what the user set stays
