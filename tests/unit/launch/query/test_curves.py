"""Curves and attempts as the page draws them."""

from __future__ import annotations

import json
from pathlib import Path

from dnw.runs.ledger import Attempt
from dnw.runs.metrics_scan import MetricsScan
from launch.query import curves as module
from launch.query.curves import attempt_rows, curves


def test_few_points_of_a_long_log_and_none_where_there_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    facts: list[dict[str, object]] = [
        {"step": step, "kind": "train", "loss": 1.0 / (step + 1)} for step in range(20_000)
    ]
    facts += [
        {"step": 20_000 + step, "kind": "val", "loss": float(odd)}
        for step, odd in enumerate(("nan", "inf", "2"))
    ]
    facts += [{"step": 20_003, "kind": "val", "loss": None, "top1": "x"}]
    path.write_text("".join(json.dumps(one) + "\n" for one in facts))
    scan = MetricsScan(path, has_curves=True)
    scan.read_on()
    found = curves(scan)
    assert found.keys() == {"train/loss", "val/loss", "val/top1"}
    assert 200 < len(found["train/loss"]) <= module.POINTS + 1
    steps = [step for step, _ in found["train/loss"]]
    assert (steps[0], steps == sorted(steps), steps[-1] > 19_000) == (0, True, True)
    assert found["val/loss"] == [(20_000, None), (20_001, None), (20_002, 2.0), (20_003, None)]
    assert found["val/top1"] == [(20_003, None)]


def test_attempts_with_their_causes() -> None:
    claim = {"time": 100.0, "job": "7", "hosts": ["n1", "n2"]}
    end = {"time": 160.0, "reason": "stopped", "cause": "preempted", "step": 9, "detail": "one\ntwo"}
    first, second, third = attempt_rows(
        [
            Attempt(1, claim, {"time": 110.0, "step": 0, "world": 8, "device": "cuda:0"}, None, end),
            Attempt(2, {**claim, "time": 200.0}),
            Attempt(3, end={"time": 300.0, "reason": "error"}),
        ],
        now=None,
    )
    assert (first.cause, first.reason, first.detail, first.seconds) == ("preempted", "stopped", "one", 60.0)
    assert (first.first_step, first.last_step, first.processes, first.hosts) == (0, 9, 8, ("n1", "n2"))
    assert (second.cause, second.processes, second.seconds) == (None, None, 0.0)
    assert (third.began, third.job, third.seconds, third.cause) == (300.0, None, None, "error")
