"""What a notice says, and what it doesn't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_folder import make

from dnw.runs import divergence
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt
from launch.node.notices import message


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def facts(event: str, **more: Any) -> dict[str, Any]:
    known = {"event": event, "attempt": 2, "job": "7", "host": "n1", "reason": "error", "detail": None}
    return {**known, "step": 10, "top1": None, **more}


def typed(run: Run, *words: str, cluster: str = "slurm") -> None:
    run.launch.write_text(json.dumps({"cluster": cluster, "words": words}))


def test_done(run: Run) -> None:
    said = message.compose(run, facts("done", top1=61.5))
    assert said.title == f"{run.name}: done, top-1 61.50 %"
    assert said.is_good
    assert said.text.splitlines() == [
        said.title,
        "step 10",
        "attempt 2, job 7 on n1",
        "",
        f"python launch/runs.py table {run.folder}",
    ]


def test_failed_with_the_line_that_goes_on(run: Run) -> None:
    typed(run, "+exp=demo_dnw", "data.dir=my data", "fresh=true")
    said = message.compose(run, facts("failed", detail="ValueError: no\nmore"))
    assert not said.is_good
    assert said.text.splitlines()[3:] == [
        "cause: error",
        "ValueError: no",
        "more",
        "",
        f"python launch/runs.py logs {run.folder}",
        "python launch/slurm.py +exp=demo_dnw 'data.dir=my data'",
    ]


def test_a_line_that_was_typed_in_the_foreground(run: Run) -> None:
    typed(run, "+exp=demo_dnw", cluster="foreground")
    assert "python launch/local.py +exp=demo_dnw" in message.compose(run, facts("no progress")).text


def test_no_secret_of_the_line_is_in_it(run: Run) -> None:
    typed(
        run,
        "data.url=https://me:s3cr3t@host/x",
        "+environment.WANDB_API_KEY=s3cr3t",
        "+environment={A:s3cr3t}",
        "notify.command=curl -H 'Authorization: s3cr3t' https://host",
        "data.dir=https://blob/x?sv=1&sig=s3cr3t",
    )
    said = message.compose(
        run, facts("failed", detail="GET https://me:s3cr3t@host/x, https://blob/x?sig=s3cr3t: 403")
    )
    assert "s3cr3t" not in said.text
    assert "data.url=https://host/x +environment.WANDB_API_KEY=... +environment=..." in said.text


def test_no_secret_of_the_line_is_in_what_helps_a_run_that_diverged(run: Run) -> None:
    typed(run, "+exp=demo_dnw", "+environment.WANDB_API_KEY=s3cr3t 1", "data.url=https://me:s3cr3t@host/x")
    end = {"diverged": {"step": 2, "what": "the loss", "rate": 0.1, "rank": 0}}
    detail = divergence.message(run, Attempt(2, end=end))
    assert "s3cr3t" in detail
    said = message.compose(run, facts("diverged", detail=detail))
    assert "s3cr3t" not in said.text
    assert "what helps: a lower rate, from the start:\n    python launch/slurm.py +exp=demo_dnw " in said.text


def test_no_control_characters_and_one_line_as_title(run: Run) -> None:
    odd = Run(run.folder.parent / "a\r\nBcc: you@example.org\x1b[2J")
    said = message.compose(odd, facts("failed", detail="x" * 5000 + "\x1b[2J"))
    assert said.title == f"{run.folder.parent.name}/a Bcc: you@example.org [2J: failed"
    assert "\x1b" not in said.text
    assert "\r" not in said.text
    assert len(said.text) < 3000
