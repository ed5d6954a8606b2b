from __future__ import annotations

import dataclasses
import logging
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from dnw.training import machine
from dnw.training.distributed import ALONE, World

HERE = machine.facts(torch.device("cpu"))


@dataclasses.dataclass(frozen=True)
class Beside(World):
    """The first of three processes; what the others have noted is given."""

    others: tuple[dict[str, str], ...] = dataclasses.field(kw_only=True)

    def gather(self, numbers: list[int]) -> list[int]:
        theirs = [machine._digest(value) for other in self.others for value in other.values()]
        return [*numbers, *theirs]


def test_facts_name_versions_and_hardware() -> None:
    assert HERE["torch"] == torch.__version__
    assert HERE["cpu capability"] == torch.backends.cpu.get_cpu_capability()
    assert HERE["cpu"]
    assert {HERE[name] for name in ("gpu", "cuda", "cudnn", "nccl", "driver")} == {"none"}


def test_libraries_that_networks_come_from_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {HERE[name] for name in ("torchvision", "timm")} == {version("torchvision"), version("timm")}

    def missing(library: str) -> str:
        if library == "timm":
            raise PackageNotFoundError(library)
        return version(library)

    monkeypatch.setattr(machine, "version", missing)
    assert machine.facts(torch.device("cpu"))["timm"] == "none"


def test_facts_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 3))
    monkeypatch.setattr(machine, "driver_version", lambda: "570.86.15")
    found = machine.facts(torch.device("cuda", 1))
    assert (found["gpu"], found["nccl"], found["driver"]) == ("NVIDIA H100", "2.27.3", "570.86.15")
    assert found.keys() == HERE.keys()


def test_going_on_elsewhere_is_said(caplog: pytest.LogCaptureFixture) -> None:
    machine.warn_of_others({**HERE, "torch": "1.0", "cpu": "an older one"}, HERE, step=7)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    first, *rest = record.getMessage().split("\n")
    assert "than up to step 7" in first
    assert "end here" in first
    assert rest == [
        f"  torch: 1.0 before, {HERE['torch']} now",
        f"  cpu: an older one before, {HERE['cpu']} now",
    ]


def test_nothing_is_said_where_all_is_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    machine.warn_of_others(HERE, HERE, step=7)
    machine.warn_of_others({}, HERE, step=7)  # a checkpoint that doesn't say
    machine.warn_of_others({**HERE, "another": "1"}, HERE, step=7)
    machine.warn_of_unlike(ALONE, HERE)
    machine.warn_of_unlike(Beside(0, 3, 3, ALONE.device, others=(HERE, HERE)), HERE)
    assert not caplog.records


def test_processes_of_several_kinds_are_named(caplog: pytest.LogCaptureFixture) -> None:
    other = {**HERE, "cpu": "an older one", "numpy": "1.0"}
    machine.warn_of_unlike(Beside(0, 4, 4, ALONE.device, others=(other, HERE, other)), HERE)
    (record,) = caplog.records
    assert "on rank 0 and on 1, 3: numpy, cpu;" in record.getMessage()
