"""Check that every processor computes right and as fast as the others, and what they send each other."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.distributed as dist

from dnw.self_test.measure import Measured, Setup

REPEATS = 5


def measure(setup: Setup) -> Measured:
    """Return this process's TFLOP/s and GB/s of memory, and GB/s of an all-reduce between all of them.

    A product and a sum of known values are compared, too. The bandwidth is that of the bus, as NCCL's own
    tests have it: 2 (n - 1) / n of the bytes over the seconds, for n processes.
    """
    device, size = setup.world.device, setup.world.size
    side, entries = (8192, 64 << 20) if device.type == "cuda" else (512, 1 << 20)
    ones = torch.ones(side, side, device=device)
    product = ones @ ones
    if setup.is_faulty:
        product[0, 0] += 1
    is_right = bool((product == side).all())
    flops = 2 * side**3 / _seconds(lambda: ones @ ones, device)
    source = torch.zeros(entries, device=device)
    target = torch.empty_like(source)
    copied = 2 * 4 * entries / _seconds(lambda: target.copy_(source), device)
    facts = {"tflops": round(flops / 1e12, 3), "memory_gb_s": round(copied / 1e9, 1)}
    figure = "" if is_right else "a product of known values came out wrong"
    if size > 1:
        source.fill_(1)
        dist.all_reduce(source)
        if not bool((source == size).all()):
            is_right, figure = False, "a sum over all processes came out wrong"
        seconds = _seconds(lambda: dist.all_reduce(target), device)
        facts["reduced_gb_s"] = round(2 * (size - 1) / size * 4 * entries / seconds / 1e9, 3)
        facts["reduced_mb"] = round(4 * entries / 1e6)
    return Measured(is_right, figure, facts=facts)


def _seconds(act: Callable[[], object], device: torch.device) -> float:
    """Return the shortest of some times that it takes."""
    found = []
    for _ in range(REPEATS):
        _finish(device)
        began_s = time.perf_counter()
        act()
        _finish(device)
        found.append(time.perf_counter() - began_s)
    return min(found)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
