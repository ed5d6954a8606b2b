"""A measurement by all processes of a job: `torchrun ... -m dnw.self_test.measure RUN WHAT`.

WHAT is a module of this package with a function `measure`. What each process has measured is gathered, and
the first one writes it as the result of the run folder that the measurement was given.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dnw import config
from dnw.config import Train
from dnw.hardware import memory
from dnw.preemption import StopRequest, die_with_parent, end_children
from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from dnw.train import configure
from dnw.training.distributed import World, join, leave
from dnw.training.watchdog import Watchdog, patience_s


@dataclass(frozen=True)
class Setup:
    """What a measurement is made with."""

    train: Train
    world: World
    is_faulty: bool  # what it must find is to be put in on purpose

    @property
    def is_one_of_many(self) -> bool:
        """Whether another process of this node does the same on the same processor."""
        return self.world.device.type == "cpu" and os.environ.get("LOCAL_RANK", "0") != "0"


@dataclass(frozen=True)
class Measured:
    """What one process has found."""

    is_right: bool
    figure: str = ""
    tolerance: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def main(arguments: list[str], stop: StopRequest | None = None) -> int:
    """Measure, and write what came out; what goes wrong in it is what came out."""
    run, what = Run(Path(arguments[0]).resolve()), arguments[1]
    die_with_parent()
    train = config.load(run.config)
    configure(train)
    world = join(patience_s(train.watchdog.seconds))
    if world.device.type == "cpu":
        memory.keep_freed()
    Watchdog(train.watchdog.seconds, lambda _step: None).start()  # for all of it
    is_faulty = os.environ.get("DNW_SELF_TEST_FAULT") == what
    found = gathered(world, _measured(what, Setup(train, world, is_faulty)))
    if world.is_first:
        claim = Claim(run, int(os.environ["DNW_ATTEMPT"]))
        with claim.replacing(run.result) as file:
            file.write((json.dumps({"ranks": found}, indent=1) + "\n").encode())
    world.barrier()
    leave()
    end_children()
    return 0


def gathered(world: World, mine: Measured) -> list[dict[str, Any]]:
    """Return what all processes have found, by rank."""
    lines = bytes(world.gather(list(json.dumps(asdict(mine)).encode() + b"\n")))
    return [json.loads(line) for line in lines.splitlines()]


def _measured(what: str, setup: Setup) -> Measured:
    try:
        found: Measured = importlib.import_module(f"dnw.self_test.{what}").measure(setup)
    except Exception as error:  # one process that raises must not leave the others waiting
        traceback.print_exc()
        return Measured(False, f"{type(error).__name__}: {error}".splitlines()[0])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
