"""Norm and ReLU by Triton kernels: interpreted, compiled for GPUs that aren't there, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

triton = pytest.importorskip("triton", reason="triton is missing, which is for Linux alone")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from dnw.models import norm_gpu, norm_relu  # noqa: E402

KERNELS = ("_sum_up", "_to_statistics", "_apply", "_sum_up_gradients", "_combine", "_apply_backward")
MAPS = ("x_NC", "given_NC", "to_given_NC", "to_x_NC")
NUMBERS = {
    **dict.fromkeys(("rows", "channels", "programs"), "i32"),
    **dict.fromkeys(("momentum", "eps"), "fp32"),
}


def test_interpreted_kernels_compute_what_torch_does() -> None:
    script = Path(__file__).parents[3] / "interpreted/norm.py"
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ | paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "14 cases\n"


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("capability", "maps"), [(80, "*bf16"), (90, "*bf16"), (90, "*fp32")])
def test_kernels_compile_for_gpus(
    capability: int, maps: str, name: str, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(norm_gpu, name)
    _, shape = norm_gpu._split(64 * 14 * 14, 512)
    warps = shape.pop("num_warps")
    types = {
        name: "constexpr" if name in shape else NUMBERS.get(name, maps if name in MAPS else "*fp32")
        for name in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=types, constexprs=shape)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    assert 1000 < len(compiled.asm["cubin"]) < 200_000
    assert f".target sm_{capability}" in compiled.asm["ptx"]
    assert ".local" not in compiled.asm["ptx"]  # all in registers


@pytest.mark.parametrize(
    ("rows", "channels", "grid"),
    [(802_816, 32, (392, 1)), (3136, 1024, (49, 16)), (2, 1, (1, 1)), (25_690_112, 32, (392, 1))],
)
def test_split_follows_from_the_shape(rows: int, channels: int, grid: tuple[int, int]) -> None:
    found, shape = norm_gpu._split(rows, channels)
    assert found == grid
    assert found[0] <= norm_gpu.PROGRAMS
    assert found[0] * shape["HIGH"] * shape["TILES"] >= rows
    assert found[1] * shape["WIDE"] >= channels


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gpu_computes_what_a_cpu_does(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(5)
    x_BCHW = torch.randn(8, 96, 28, 28, generator=draw).to(dtype).to(memory_format=torch.channels_last)
    to_BCHW = torch.randn(8, 96, 28, 28, generator=draw).to(dtype)
    found = []
    for device in ("cpu", "cuda", "cuda"):
        norm = nn.BatchNorm2d(96).to(device)
        on_device_BCHW = x_BCHW.to(device).detach().requires_grad_()
        given_BCHW = norm_relu.norm_relu(norm, on_device_BCHW)
        given_BCHW.backward(to_BCHW.to(device))
        gradients = (on_device_BCHW.grad, norm.weight.grad, norm.bias.grad)
        results = (given_BCHW, *gradients, norm.running_mean, norm.running_var)
        found.append([one.detach().cpu().float() for one in results if one is not None])
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    for on_cpu, on_gpu, again in zip(*found, strict=True):
        assert torch.allclose(on_cpu, on_gpu, rtol=tolerance, atol=tolerance * float(on_cpu.abs().max()))
        assert torch.equal(on_gpu, again)
