"""The runs of the study: where they are, how far they have come, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.study.declared import Network, Sweep
from bench.study.elsewhere import Outcome
from dnw import schedule
from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run, signature_in
from launch import prepare
from launch.compose import compose
from launch.query.result import read_result
from shards.index import Index


@dataclass(frozen=True)
class Trained:
    """One run: a contestant at a rate, with a seed."""

    network: Network
    contestant: str
    rate: float
    seed: int
    run: Run
    steps: int
    elsewhere: Outcome | None = None  # what it came to on another machine

    @property
    def title(self) -> str:
        return f"{self.network.name} {self.contestant}, rate {self.rate:g}, seed {self.seed}"

    def top1(self) -> float | None:
        """Return what came out on the images that are held out; None: it isn't done, or has diverged."""
        result = read_result(self.run)
        if result is not None:
            return float(result["top1"])
        return self.elsewhere.held_out if self.elsewhere else None

    def has_ended(self) -> bool:
        """Whether there is nothing left to do: done, or diverged."""
        if self.run.result.exists() or self.elsewhere:
            return True
        newest = ledger.last(self.run)
        return newest is not None and newest.reason == "diverged"

    def curve(self) -> list[tuple[float, float]]:
        """Return top-1 on the images that are held out, after each evaluation: (epoch, percent)."""
        if self.elsewhere and not self.run.result.exists():
            return list(self.elsewhere.curve)
        return [(line["epoch"], line["top1"]) for line in self._lines("val")]

    def progress(self) -> tuple[int, float]:
        """Return the steps that are done, and the seconds that one takes; 0 where nothing tells."""
        lines = self._lines("train")
        done = self.steps if self.has_ended() else max((line["step"] for line in lines), default=0)
        spans = [
            (after["time"] - before["time"], after["step"] - before["step"])
            for before, after in pairwise(lines)
            if before["attempt"] == after["attempt"]
        ]
        steps = sum(step for _, step in spans)
        return done, sum(second for second, _ in spans) / steps if steps else 0.0

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in jsonl.read(self.run.metrics) if line["kind"] == kind]


def planned(
    sweep: Sweep, settings: Sequence[str], images: Index, known: Mapping[str, Outcome]
) -> list[Trained]:
    """Return the runs of a sweep, by the signatures that the launcher gives them; nothing is written.

    Args:
        sweep: the line that stands for them.
        settings: of all runs.
        images: of an epoch.
        known: what runs came to that were trained elsewhere, by their signatures.
    """
    found = []
    for composed in compose(["-m", *sweep.words, *settings]):
        plan = prepare.plan(composed, in_foreground=True)
        train = plan.train
        wiring = train.wiring.name
        names = [one for one in sweep.contestants if one.partition("+")[0] == wiring]
        steps = schedule.total_steps(train, images.num_samples)
        what = (sweep.network, names[0], train.optim.lr, train.seed, plan.run, steps)
        found.append(Trained(*what, known.get(signature_in(plan.run.name))))
    return found


def left_s(runs: Iterable[Trained], to_come: Mapping[str, int]) -> float | None:
    """Estimate the seconds of training that are left, one run after the other; None: no step was timed.

    Args:
        runs: those that are declared.
        to_come: steps of those that will be declared, by the name of the network.
    """
    steps_left = dict(to_come)
    timed: dict[str, list[float]] = {}
    for one in runs:
        done, step_s = one.progress()
        name = one.network.name
        steps_left[name] = steps_left.get(name, 0) + one.steps - done
        if step_s:
            timed.setdefault(name, []).append(step_s)
    if not timed:
        return None
    known = {name: statistics.median(seconds) for name, seconds in timed.items()}
    other = statistics.mean(known.values())  # of a network of which nothing has run yet
    return sum(steps * known.get(name, other) for name, steps in steps_left.items())
