"""The native engine's Triton kernels, compiled for GPUs that aren't there."""

from __future__ import annotations

from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="triton is missing, which is for Linux alone")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from dnw.engines.native import gpu  # noqa: E402

SUM = {
    **dict.fromkeys(("given", "weights", "bias", "received"), "*fp32"),
    **dict.fromkeys(("starts", "sources"), "*i32"),
    **dict.fromkeys(("targets", "pixels"), "i32"),
}
GIVE = {
    **dict.fromkeys(("received", "filters", "given"), "*fp32"),
    **dict.fromkeys(("nodes", "batch", "side_in", "side", "stride"), "i32"),
}
ONES = ("batch", "stride", "nodes", "targets", "pixels")  # 1 is compiled into a kernel of its own


@pytest.mark.parametrize("are_ones", [False, True], ids=["numbers", "ones"])
@pytest.mark.parametrize(("kernel", "types"), [(gpu._sum, SUM), (gpu._give, GIVE)], ids=["sum", "give"])
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus(
    capability: int, kernel: Any, types: dict[str, str], are_ones: bool, monkeypatch: Any, tmp_path: Any
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    fixed = {"PIXELS": gpu.PIXELS}
    if are_ones:
        fixed |= {name: 1 for name in ONES if name in types}
    order = {name: "constexpr" if name in fixed else types[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=order, constexprs=fixed)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert len(compiled.asm["cubin"]) > 1000
    assert f".target sm_{capability}" in compiled.asm["ptx"]
