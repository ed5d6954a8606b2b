"""Many kills at random places over one run: `make soak`. DNW_SOAK_SEED=N repeats the kills of a failure."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from worker import assert_same_weights, losses, prepare, train

from dnw.runs import ledger

KILLS = 20
CHANGES = {"steps": 60, "checkpoint__every_steps": 2, "log__every_steps": 1}


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path, few_images: Path) -> None:
    seed = int(os.environ.get("DNW_SOAK_SEED") or time.time())
    print(f"DNW_SOAK_SEED={seed}")
    draw = random.Random(seed)
    whole, broken = (prepare(tmp_path / name, few_images, **CHANGES) for name in ("whole", "broken"))
    assert train(whole, 2)[0] == 0
    step = 0
    for _ in range(KILLS):
        step = min(step + draw.randint(1, 4), 59)
        point = draw.choice([f"step {step}", f"save step-{step + step % 2:08d}.pt"])
        fault = f"0:{point}" if point.startswith("save") else f"{draw.randint(0, 1)}:{point}"
        code, _ = train(broken, 2, fault)
        print(f"{fault}: exit code {code}, attempt began at step {ledger.last(broken).start['step']}")
        assert code != 0
        step = max(ledger.last(broken).start["step"], step - 2)
    code, output = train(broken, 2)
    assert code == 0, output
    assert_same_weights(broken, whole)
    assert losses(broken) == losses(whole)
