"""Compare the selection's kernels for a GPU, run by Triton's interpreter, with the choice on a CPU.

A process of its own, as Triton decides whether to interpret when it is imported.
Prints the cases that differ.
"""

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch

from dnw.wiring import selection_gpu
from dnw.wiring.selection import largest

ODD = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, float("inf"), -float("inf"), 3e38])

if __name__ == "__main__":
    selection_gpu.TILE, selection_gpu.TILES = 64, 2  # several blocks of few weights
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    for size in (1, 200):
        weights = {
            "normal": torch.randn(size, generator=draw),
            "odd": ODD[torch.randint(len(ODD), (size,), generator=draw)],
            "tied": torch.ones(size),
            "bfloat16": torch.randn(size, generator=draw).bfloat16(),
        }
        for name, weight in weights.items():
            for legal in (None, torch.rand(size, generator=draw) < 0.6):
                print(name, size, file=sys.stderr, flush=True)
                most = size if legal is None else int(legal.sum())
                for budget in sorted({most // 3, most} - {0}):
                    out = torch.ones(size, dtype=torch.bool)
                    selection_gpu.mark_largest(weight, legal, budget, out)
                    if not torch.equal(out, largest(weight, legal, budget)):
                        print(name, size, legal is not None, budget, flush=True)
