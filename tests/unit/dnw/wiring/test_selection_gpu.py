"""The choice of edges by Triton kernels: interpreted, compiled for GPUs that aren't there, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from dnw.wiring import selection
from dnw.wiring.selection import largest

triton = pytest.importorskip("triton", reason="triton is missing, which is for Linux alone")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from dnw.wiring import selection_gpu  # noqa: E402

TYPES = {
    **dict.fromkeys(("bits", "counts", "shared"), "*i32"),
    **dict.fromkeys(("legal", "marks"), "*u8"),
    **dict.fromkeys(("size", "budget"), "i32"),
}
TILES = {"TILE": selection_gpu.TILE, "TILES": selection_gpu.TILES}
KERNELS = {
    "count": (selection_gpu._count, {**TILES, "DIGIT": 0, "LEGAL": True}, 4),
    "count on": (selection_gpu._count, {**TILES, "DIGIT": 1, "LEGAL": True}, 4),
    "mark": (selection_gpu._mark, {**TILES, "LEGAL": True}, 4),
    "mark all": (selection_gpu._mark, {**TILES, "LEGAL": False}, 4),
    "finish": (selection_gpu._finish, {"TILE": selection_gpu.TILE}, selection_gpu.FINISHING_WARPS),
}


def test_interpreted_kernels_choose_as_a_cpu_does() -> None:
    script = Path(__file__).parents[3] / "interpreted/selection.py"
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ | paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "80 cases\n"


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus(capability: int, name: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, fixed, warps = KERNELS[name]
    types = {name: "constexpr" if name in fixed else TYPES[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=types, constexprs=fixed)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    assert 1000 < len(compiled.asm["cubin"]) < 100_000
    assert f".target sm_{capability}" in compiled.asm["ptx"]
    assert ".local" not in compiled.asm["ptx"]  # all in registers


@pytest.mark.gpu
def test_gpu_chooses_as_cpu_does() -> None:
    weight = torch.randn(3072, 2816, generator=torch.Generator().manual_seed(3)).half().float()  # with ties
    legal = torch.ones(3072, 2816).tril().bool()
    out = torch.ones(weight.shape, dtype=torch.bool, device="cuda")
    for among, budget in ((None, 72_991), (legal, 72_991), (legal, int(legal.sum())), (legal, 1), (legal, 0)):
        on_gpu = None if among is None else among.cuda()
        assert largest(weight.cuda(), on_gpu, budget, out=out) is out
        assert torch.equal(out.cpu(), largest(weight, among, budget))


@pytest.mark.gpu
@pytest.mark.parametrize("value", [0.0, -0.5, float("nan")])
def test_gpu_chooses_among_equal_ones(value: float) -> None:
    weight = torch.full((2_000_000,), value)
    assert torch.equal(largest(weight.cuda(), None, 1_234_567).cpu(), largest(weight, None, 1_234_567))


@pytest.mark.gpu
def test_gpu_without_triton_chooses_the_same() -> None:
    weight = torch.randn(300, 280, generator=torch.Generator().manual_seed(3)).half().float().cuda()
    with mock.patch.object(selection, "takes_kernels", return_value=False):
        by_torch = largest(weight, None, 4_321)
    assert torch.equal(largest(weight, None, 4_321), by_torch)
