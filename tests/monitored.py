"""Attempts of a run as its monitor sees them."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from run_folder import make
from torch import nn

from dnw import models
from dnw.config import load
from dnw.runs import ledger
from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from dnw.runs.goodput import last_logged
from dnw.training import monitor as monitor_module
from dnw.training.checkpoint import Position
from dnw.training.evaluation import Accuracy
from dnw.training.monitor import Monitor
from dnw.wiring import edges_of

STEPS = 8


def attempt(run: Run, model: nn.Module, position: Position, until: int) -> None:
    """One that logs every step, evaluates and saves after 4 and 8, and is killed after `until`."""
    claim, train = Claim.take_over(run), load(run.config)
    ledger.claim(run, claim.number, job=f"7{claim.number}", restart=0, hosts=["n1", "n2"])
    ledger.start(run, claim.number, step=position.step, found=last_logged(run))
    with Monitor(claim, position, STEPS, train) as monitor:
        if position.step == 4 and position.evaluated < 4:
            evaluated(monitor, model, 4)
        for step in range(position.step + 1, until + 1):
            if step == position.step + 1:
                ledger.first_step(run, claim.number, step)
            monitor.training(step, step / 4, loss=10.0 * claim.number + step, top1=1.0, rate=0.1, batch=32)
            if step % 4 == 0:
                evaluated(monitor, model, step)
                monitor.saved(step, 0.25, 0.125, 1000, 600.0)
        if until == STEPS:
            monitor.done()
    if until < STEPS:
        ledger.end(run, claim.number, "killed", step=until, detail="by SIGKILL | on n2", by="launcher")


def evaluated(monitor: Monitor, model: nn.Module, step: int) -> None:
    monitor.evaluation(step, step / 4, Accuracy(top1=10.0 * step, top5=90.0, loss=1.5, samples=50))
    masks = {name: edges.mask.clone() for name, (_, edges) in edges_of(model).items()}
    monitor.wiring(step, model, masks, 32, swapped=0.1)


def killed_twice(folder: Path) -> Run:
    """A run killed after step 6 and, gone on with from 4 without an evaluation, after 7.

    Ledger and metrics tell a time that is a second later with each look at it.
    """
    clock = SimpleNamespace(time=itertools.count(1.7e9).__next__, monotonic=time.monotonic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "time", clock)
        patch.setattr(monitor_module, "time", clock)
        return _killed_twice(folder)


def _killed_twice(folder: Path) -> Run:
    run = make(folder)
    run.code.mkdir()
    record = {"commit": "c0ffee", "dirty": True, "digest": "0123456789abcdef", "files": {}}
    (run.code / "code.json").write_text(json.dumps(record))
    model = models.build(load(run.config))
    attempt(run, model, Position(), until=6)
    attempt(run, model, Position(step=4), until=7)
    attempt(run, model, Position(step=4, evaluated=4), until=STEPS)
    return run
