import json
from pathlib import Path

import pytest
from worker import prepare

from dnw.runs import jsonl
from dnw.self_test import compare


def test_what_differs_besides_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    runs = [prepare(tmp_path / name, tmp_path) for name in "ab"]
    states = {
        runs[0].folder: {"w": torch.zeros(2), "m": torch.ones(1)},
        runs[1].folder: {"w": torch.zeros(2)},
    }
    monkeypatch.setattr(compare, "state", lambda run: states[run.folder])
    for number, run in enumerate(runs):
        jsonl.append(run.metrics, {"kind": "train", "step": 1, "loss": 1.0})
        jsonl.append(run.metrics, {"kind": "val", "step": 1, "top1": 1.0, "top5": 5.0, "loss": number})
        jsonl.append(run.digests, {"step": 1, "digests": ["a", "b"]})
    assert compare.main([str(run.folder) for run in runs]) == 0
    assert json.loads(capsys.readouterr().out) == ["m", "evaluations"]
    assert compare.differences(runs[0], runs[0]) == []
    states[runs[1].folder] = {"w": torch.zeros(2, dtype=torch.float64), "m": torch.ones(1)}
    jsonl.append(runs[1].digests, {"step": 2, "digests": []})
    assert compare.differences(*runs) == ["w", "samples", "evaluations"]
