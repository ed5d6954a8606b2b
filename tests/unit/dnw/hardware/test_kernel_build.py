"""What is said where Triton, the real one, can't build what calls its kernels; the GPU alone isn't there."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dnw.hardware import device, kernel_build

GPU = torch.device("cuda", 0)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine on which CUDA finds a GPU, and where Triton has built nothing yet; its cache."""
    pytest.importorskip("triton")
    (tmp_path / "libcuda.so.1").touch()
    cache = tmp_path / "cache"
    for name, value in {kernel_build.CACHE: str(cache), "TRITON_LIBCUDA_PATH": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    device.takes_kernels.cache_clear()
    yield cache
    device.takes_kernels.cache_clear()


def test_without_a_compiler(on_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(on_gpu))
    assert kernel_build.problem(GPU) == (
        "Triton can't build what calls its kernels: there is no C compiler; install gcc, load the site's "
        "module for it, or export CC=COMPILER"
    )
    monkeypatch.setenv("CC", "icx")
    assert "CC=icx is no program here; unset it" in str(kernel_build.problem(GPU))


def test_without_the_headers_of_python(on_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, none = sysconfig.get_paths, str(on_gpu / "include")
    monkeypatch.setattr(sysconfig, "get_paths", lambda **named: {**real(**named), "include": none})
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: none)
    assert f"{none}/Python.h isn't there; install Python's headers" in str(kernel_build.problem(GPU))


@pytest.mark.usefixtures("without_a_home")
def test_without_a_home_folder(on_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kernel_build.CACHE)
    assert kernel_build._lacking() == "there is no home folder to keep it in; export TRITON_CACHE_DIR=FOLDER"


def test_what_else_is_amiss_is_in_the_words_of_triton(on_gpu: Path) -> None:
    """All is built, from its own source, and finds nothing in a libcuda that is empty."""
    assert "Triton can't build what calls its kernels: " in str(found := kernel_build.problem(GPU))
    assert "undefined symbol: cu" in str(found)
    assert list(on_gpu.glob("*/cuda_utils*.so"))


def test_on_other_devices_nothing_is_amiss(on_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert kernel_build.problem(torch.device("cpu")) is None
