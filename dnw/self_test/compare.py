"""Compare two finished runs bit by bit: `python -m dnw.self_test.compare RUN RUN` prints a JSON list.

It names each tensor that differs, of weights, running statistics and momentum, and "losses", "samples" and
"evaluations" where these do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dnw.runs import jsonl
from dnw.runs.folder import Run, newest_step, step_path
from dnw.training import checkpoint


def differences(one: Run, other: Run) -> list[str]:
    """Return the names of what differs; none where the runs came to the same bits.

    Raises:
        CheckpointError: a last checkpoint can't be read.
    """
    a, b = state(one), state(other)
    found = [
        name
        for name in sorted(a.keys() | b.keys())
        if name not in a or name not in b or not _same(a[name], b[name])
    ]
    for name, records in (("losses", losses), ("samples", samples), ("evaluations", evaluations)):
        if records(one) != records(other):
            found.append(name)
    return found


def state(run: Run) -> dict[str, torch.Tensor]:
    """Return weights, running statistics and momentum, as the last checkpoint holds them."""
    step = newest_step(run.checkpoints)
    assert step is not None
    saved = checkpoint.read(step_path(run.checkpoints, step))
    momentum = {
        f"momentum {key}": value["momentum_buffer"] for key, value in saved.optimizer["state"].items()
    }
    return {**saved.model, **momentum}


def losses(run: Run) -> dict[int, float]:
    """Return the logged training loss of each step."""
    return {line["step"]: line["loss"] for line in jsonl.read(run.metrics) if line["kind"] == "train"}


def samples(run: Run) -> dict[int, list[str]]:
    """Return the digest of each micro-batch of each step."""
    return {line["step"]: line["digests"] for line in jsonl.read(run.digests)}


def evaluations(run: Run) -> dict[int, tuple[Any, ...]]:
    """Return accuracies and loss of each evaluation."""
    found = [line for line in jsonl.read(run.metrics) if line["kind"] == "val"]
    return {line["step"]: (line["top1"], line["top5"], line["loss"]) for line in found}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def main(arguments: Sequence[str]) -> int:
    """Print in what two run folders differ."""
    one, other = (Run(Path(word)) for word in arguments)
    print(json.dumps(differences(one, other)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
