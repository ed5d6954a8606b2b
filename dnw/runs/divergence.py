"""What is noted of a run that has diverged, and what is said of it: where, how far back, and what helps.

A run has diverged when its loss, a weight, a momentum or a running statistic is inf or nan. It never goes on
by itself: the same steps would give the same values.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnw.config import Train, load
from dnw.invocation import RUN, SUBMIT
from dnw.runs import ledger
from dnw.runs.folder import Run, step_path, steps
from dnw.runs.ledger import Attempt

DIVERGED = 76  # exit code of a job; no other of ours, and none of a shell's


@dataclasses.dataclass(frozen=True)
class Divergence:
    """What isn't finite, as far as it can be told."""

    step: int  # the first one known to have such a value
    what: str  # "the loss"
    rate: float  # learning rate of that step
    rank: int  # the first rank with such a value
    layer: str = ""  # the network's first one with such a value, and which; "": all of it is finite
    tensors: str = ""  # how many of the network's have one, "3 of 54"
    cause: str = ""  # the exception that it came to light with

    @property
    def summary(self) -> str:
        """One line."""
        came = f" ({self.cause})" if self.cause else ""
        return f"{self.what} of step {self.step} is not finite, learning rate {self.rate:g}{came}"

    @property
    def place(self) -> str:
        """Where, in one line."""
        if not self.layer:
            return f"rank {self.rank}; weights, momentum and running statistics are finite"
        return f"{self.layer}, rank {self.rank}; {self.tensors} tensors have such values"


def last(run: Run) -> Attempt | None:
    """Return the newest attempt if the run diverged in it."""
    newest = ledger.last(run)
    return newest if newest is not None and newest.reason == "diverged" else None


def message(run: Run, attempt: Attempt) -> str:
    """Return all there is to say of an attempt that diverged."""
    end = attempt.end or {}
    found = Divergence(**end["diverged"])
    return "\n".join(
        [
            f"{run.name}: diverged: {found.summary}",
            f"  first value that isn't finite: {found.place}",
            f"  last healthy checkpoint: {_healthy(run)}",
            *_remedies(run),
        ]
    )


def _healthy(run: Run) -> str:
    saved = steps(run.checkpoints)
    if saved:
        return f"step {saved[-1]}, {step_path(run.checkpoints, saved[-1])}"
    return f"step 0, {run.checkpoints / 'init.pt'}"


def _remedies(run: Run) -> list[str]:
    """Lines to type, as the run was submitted last."""
    command, words = _typed(run)
    train = load(run.config)
    others = [word for word in words if _key(word) not in {"optim.lr", "fresh", "resume_diverged"}]
    lower = train.optim.lr / 10
    settings = {field.name for field in dataclasses.fields(Train)}
    ours = [word for word in others if _key(word).split(".")[0] in settings]
    if ours and (usual := _usual_rate(ours)) is not None and usual < train.optim.lr:
        lower = usual
    anew = shlex.join([*others, f"optim.lr={lower:g}", "fresh=true"]) if others else ""
    again = shlex.join([*(word for word in words if _key(word) != "fresh"), "resume_diverged=true"])
    if not others:
        return [f"what helps: a lower optim.lr than {train.optim.lr:g}, with fresh=true, which begins anew"]
    return [
        f"what helps: a lower rate, from the start:\n    {command} {anew}",
        "  the same steps give the same values again. Where a fault of the machine was the cause, or it is "
        f"another machine now, go on from the last healthy checkpoint:\n    {command} {again}",
    ]


def _usual_rate(words: Sequence[str]) -> float | None:
    """Return the rate of a run for which none is typed; None in a job, where configs/ lies in an archive."""
    if not Path(__file__).is_file():
        return None
    from dnw.compose import training  # noqa: PLC0415  (brings hydra, and tables need none)

    return training(words).optim.lr


def _typed(run: Run) -> tuple[str, Sequence[str]]:
    """Return the command, and its words, that the run was launched with last."""
    if not run.launch.exists():
        return SUBMIT, ()
    record: dict[str, Any] = json.loads(run.launch.read_bytes())
    return RUN if record.get("cluster") == "foreground" else SUBMIT, record.get("words", ())


def _key(word: str) -> str:
    return word.lstrip("+~").split("=")[0].split("@")[0]
