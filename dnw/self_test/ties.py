"""Check that every device chooses the same largest weights where many have the same magnitude."""

from __future__ import annotations

import torch
from torch import Tensor

from dnw.self_test.measure import Measured, Setup
from dnw.wiring.selection import largest, largest_of_rows

SHAPES = ((64, 96), (200, 50, 3, 3), (7, 1), (512, 2048))
LEVELS = 4  # magnitudes that there are
SHARES = (0.0, 0.01, 0.3, 0.999, 1.0)


def measure(setup: Setup) -> Measured:
    """Return how many choices differ from a stable sort's, which takes the first of equal ones."""
    if setup.is_one_of_many:
        return Measured(True)
    device, wrong, made = setup.world.device, 0, 0
    for number, shape in enumerate(SHAPES):
        generator = torch.Generator().manual_seed(number)
        weight = torch.randint(-LEVELS, LEVELS + 1, shape, generator=generator).float() / LEVELS
        for legal in (None, torch.rand(shape, generator=generator) < 0.5):
            count = weight.numel() if legal is None else int(legal.sum())
            for share in SHARES:
                budget = round(share * count)
                there = None if legal is None else legal.to(device)
                chosen = largest(weight.to(device), there, budget).cpu()
                wrong += not torch.equal(chosen, _first(weight, legal, budget, backwards=setup.is_faulty))
                made += 1
        wrong += not _rows_agree(weight, device)
        made += 1
    beside = "cuda" if device.type == "cuda" else "no GPU here: cpu"
    return Measured(wrong == 0, f"{beside} beside a sort: {wrong} of {made} choices differ", "0 differ")


def _first(weight: Tensor, legal: Tensor | None, budget: int, backwards: bool = False) -> Tensor:
    """Choose by a stable sort; `backwards` takes the last of equal ones, on purpose."""
    size = weight.abs().flatten()
    if legal is not None:
        size = size.masked_fill(~legal.flatten(), -1)
    order = torch.sort(size.flip(0) if backwards else size, descending=True, stable=True).indices[:budget]
    marks = torch.zeros(size.numel(), dtype=torch.bool)
    marks[size.numel() - 1 - order if backwards else order] = True
    return marks.view(weight.shape)


def _rows_agree(weight: Tensor, device: torch.device) -> bool:
    columns = weight[0].numel()
    budgets = torch.arange(len(weight)) % (columns + 1)
    chosen = largest_of_rows(weight.to(device), None, budgets.to(device), int(budgets.max())).cpu()
    rows = [_first(row, None, int(budget)) for row, budget in zip(weight, budgets, strict=True)]
    return torch.equal(chosen, torch.stack(rows))
