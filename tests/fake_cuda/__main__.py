"""Trace cases on the fake device: one per line of stdin, as JSON; a report for each on stdout, in order.

A case is {"do": "training" | "engine" | "decoy", ...}: the other keys are arguments of that
function below. A report has the fields of `trace.Counts`, or `error`: the exception that ended it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

sys.path[:1] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from fake_cuda import library  # noqa: E402

library.load()

import torch  # noqa: E402

from dnw.config import parse  # noqa: E402
from dnw.models import mobilenet  # noqa: E402
from fake_cuda import engines, steps  # noqa: E402
from fake_cuda.device import DEVICE, fake_cuda  # noqa: E402
from fake_cuda.trace import Counts, Trace  # noqa: E402

# A quarter of the channels: to choose a whole network's edges, with real numbers, takes longer than a trace.
SMALL_BLOCKS = ((8, 16, 1, 1), (16, 32, 2, 2), (32, 64, 2, 2), (64, 128, 2, 6), (128, 256, 2, 2))

LARGE_BATCH = 256  # of an engine: the whole network fills grids


def _small() -> Any:
    return mock.patch.multiple(mobilenet, BLOCKS=SMALL_BLOCKS, FEATURES=SMALL_BLOCKS[-1][1])


def training(train: dict[str, Any], world_size: int = 1, rank: int = 0) -> Counts:
    """Count a step; what waits or is wrong in an evaluation after it is told with that of the step."""
    with _small():
        step, evaluation = steps.traced(parse(train), world_size, rank)
    step.waits += [f"{name} in an evaluation" for name in evaluation.waits]
    step.faults += [f"{fault} in an evaluation" for fault in evaluation.faults]
    return step


def engine(train: dict[str, Any], name: str, batch: int) -> Counts:
    with contextlib.nullcontext() if batch >= LARGE_BATCH else _small():
        return engines.engine_call(parse(train), name, batch)


def decoy(code: str) -> Counts:
    with fake_cuda():
        x_BCHW = torch.empty(4, 8, 6, 6, device=DEVICE, requires_grad=True)
        with Trace(DEVICE) as trace:
            exec(code, {"torch": torch, "x": x_BCHW})
    return trace.counts


DO = {function.__name__: function for function in (training, engine, decoy)}


def _report(case: dict[str, Any]) -> dict[str, Any]:
    do = DO[case.pop("do")]
    try:
        return vars(do(**case))
    except Exception as error:  # one case's, told to the test of that case
        return {"error": "".join(traceback.format_exception(error, limit=-6))}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(_report(json.loads(line))), flush=True)
