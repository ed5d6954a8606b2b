"""Many random disturbances of one run on a real cluster: `make soak`. DNW_SOAK_SEED=N draws the same ones.

Each kind comes at least once, where there are as many. DNW_SOAK_EVENTS=N has N of them instead of 50.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import EVENTS, assert_same, disturb, finishes, the_run, typed

DISTURBANCES = int(os.environ.get("DNW_SOAK_EVENTS", "50"))
STEPS = 14 * DISTURBANCES
LONG = [
    f"steps={STEPS}",
    "nproc=2",
    "checkpoint.every_steps=2",
    "eval_every_epochs=20",
    "watchdog.seconds=60",
]


def drawn_events(draw: random.Random, count: int) -> list[str]:
    kinds = list(EVENTS)
    drawn = draw.sample(kinds, min(count, len(kinds))) + draw.choices(kinds, k=max(0, count - len(kinds)))
    return draw.sample(drawn, len(drawn))


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_disturbed_again_and_again_it_ends_with_the_same_bits(
    slurm_here: None, few_images: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("DNW_SOAK_SEED") or time.time())
    print(f"\nDNW_SOAK_SEED={seed}\n| event | steps lost | seconds to the next step | cause |")
    print("|---|---|---|---|")
    draw = random.Random(seed)
    with Cluster(Settings(nodes=6, speed=10, grace_s=8, kill_wait_s=8)) as cluster:
        for name in ("whole", "broken"):
            (tmp_path / name).mkdir()
        typed(cluster, few_images, tmp_path / "whole", *LONG)
        whole = the_run(tmp_path / "whole")
        finishes(whole, timeout_s=600)
        typed(cluster, few_images, tmp_path / "broken", *LONG)
        broken = the_run(tmp_path / "broken")
        drawn: Counter[str] = Counter()
        for event in drawn_events(draw, DISTURBANCES):
            wait = draw.randint(3, 8)
            again = partial(typed, cluster, few_images, tmp_path / "broken", *LONG)
            print(disturb(cluster, broken, event, wait, again).row(), flush=True)
            drawn[event] += 1
        finishes(broken, timeout_s=600)
    print(dict(drawn))
    assert_same(broken, whole)
