"""Compare the selection's kernels for a GPU, run by Triton's interpreter, with the choice on a CPU.

A process of its own, as Triton decides whether to interpret when it is imported.
Prints the cases that differ, and how many cases there were.
"""

import os
from collections.abc import Iterator

os.environ["TRITON_INTERPRET"] = "1"

import torch

from dnw.wiring import selection_gpu
from dnw.wiring.selection import _largest_by_kernels, largest

ODD = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e-39, 1.0, -1.0, 3e38, torch.inf, -torch.inf])
NAN = torch.tensor([0x7FC00000, 0x7FC00001, -0x400000, 0x7F800001]).int().view(torch.float32)
TILE, TILES = 64, 2  # several programs of few weights


def weights(size: int, draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Return float32 weights [size] by name."""
    odd = ODD[torch.randint(len(ODD), (size,), generator=draw)]
    near = torch.randint(0x3F800000, 0x3F801000, (size,), generator=draw).int().view(torch.float32)
    return {
        "normal": torch.randn(size, generator=draw),
        "odd": odd,
        "not numbers": torch.where(torch.arange(size) % 3 > 0, odd, NAN[torch.arange(size) % len(NAN)]),
        "equal": torch.full((size,), -0.5),
        "near": near,  # the same upper bits
    }


def cases(draw: torch.Generator) -> Iterator[tuple[str, torch.Tensor, torch.Tensor | None, int]]:
    """Give weights, where they are legal, and budgets: around a program's border, then other kinds."""
    for size in (1, 127, 128, 129, 300):
        for name, weight in weights(size, draw).items():
            legal = torch.rand(size, generator=draw) < 0.6
            legal[0] = True
            most = int(legal.sum())
            yield f"{name} {size}", weight, None, -(-size // 3)
            yield f"{name} {size} legal", weight, legal, max(1, most // 3)
            if size == 300:
                for budget in (0, 1, most - 1, most):
                    yield f"{name} {size} legal", weight, legal, budget
                yield f"{name} {size}", weight, None, size
    filters = torch.randint(-3, 4, (6, 5, 3, 3), generator=draw).float()
    legal = torch.rand(filters.shape, generator=draw) < 0.7
    yield "channels_last", filters.contiguous(memory_format=torch.channels_last), legal, 40
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        yield str(dtype), torch.randn(300, generator=draw).to(dtype), None, 100


def differs(weight: torch.Tensor, legal: torch.Tensor | None, budget: int) -> bool:
    out = torch.ones(weight.shape, dtype=torch.bool)  # as left by a choice before
    return not torch.equal(_largest_by_kernels(weight, legal, budget, out), largest(weight, legal, budget))


if __name__ == "__main__":
    torch.set_num_threads(1)
    number = 1
    if differs(torch.randn(20_000, generator=torch.Generator().manual_seed(1)), None, 1_000):
        print("tiles as on a GPU")
    selection_gpu.TILE, selection_gpu.TILES = TILE, TILES
    for name, weight, legal, budget in cases(torch.Generator().manual_seed(0)):
        number += 1
        if differs(weight, legal, budget):
            print(f"{name}, budget {budget}")
    print(f"{number} cases")
