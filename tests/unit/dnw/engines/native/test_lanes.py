"""Vectors of the other width, as on a CPU with registers of 512 bits; LLVM halves them on one without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[5]
WIDE = """
import llvmlite.binding as llvm
import numba
import torch
from drawn_compact import assert_same, by_torch, some_network

told = llvm.get_host_cpu_features
llvm.get_host_cpu_features = lambda: {"avx512f": True}
from dnw.engines.native import plan, vector
llvm.get_host_cpu_features = told  # numba, too, asks what there is
assert vector.LANES == 16
from dnw.engines.native.network import Native

plan.EDGES = plan.EDGES_OF_SHARED = 0
for size, stem, block, normed in [(9, 1, 1, False), (33, 1, 2, True), (70, 2, 2, False), (65, 1, 2, True)]:
    torch.manual_seed(size)
    network = some_network(size, stem, block, normed)
    images_BCHW = torch.randn(3, 3, size, size)
    for threads in (1, 2):
        logits_BK = torch.from_numpy(Native(network.arrays(), threads)(images_BCHW.numpy()))
        expected_BK = by_torch(network, images_BCHW)
        assert_same(logits_BK, expected_BK)
        logits_BK = torch.from_numpy(Native(network.arrays(), threads, "bf16")(images_BCHW.numpy()))
        assert 0 < (logits_BK - expected_BK).abs().max() / expected_BK.abs().max() < 2**-8
print("same")
"""


@pytest.mark.soak  # half a minute of compiling
def test_vectors_of_16_lanes_compute_the_same(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path),  # numba does not know that this is other code
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    words = [sys.executable, "-c", WIDE]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr
