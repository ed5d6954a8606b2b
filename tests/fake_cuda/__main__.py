"""Trace cases on the fake device: one per line of stdin, as JSON; a report for each on stdout, in order.

A case is {"do": "training" | "evaluation" | "engine" | "decoy", ...}: the other keys are arguments of that
function below. A report has the fields of `trace.Counts`, or `error`: the exception that ended it.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path[:1] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from fake_cuda import library  # noqa: E402

library.load()

import torch  # noqa: E402

from dnw.config import parse  # noqa: E402
from fake_cuda import engines, steps  # noqa: E402
from fake_cuda.device import DEVICE, fake_cuda  # noqa: E402
from fake_cuda.trace import Counts, Trace  # noqa: E402


def training(train: dict[str, Any], world_size: int = 1, rank: int = 0) -> Counts:
    return steps.training_step(parse(train), world_size, rank)


def evaluation(train: dict[str, Any]) -> Counts:
    return steps.evaluation_batch(parse(train))


def engine(train: dict[str, Any], name: str, batch: int) -> Counts:
    return engines.engine_call(parse(train), name, batch)


def decoy(code: str) -> Counts:
    with fake_cuda():
        x_BCHW = torch.empty(4, 8, 6, 6, device=DEVICE, requires_grad=True)
        with Trace(DEVICE) as trace:
            exec(code, {"torch": torch, "x": x_BCHW})
    return trace.counts


DO = {function.__name__: function for function in (training, evaluation, engine, decoy)}


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
