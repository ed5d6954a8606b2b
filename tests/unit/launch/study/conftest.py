"""Studies on a cluster that is played: real run folders, locks and ledgers, and no training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from run_folder import finish, log, note

from dnw.runs.folder import Run
from dnw.runs.lock import Lock
from launch import prepare
from launch.commands import cancel
from launch.compose import Composed, compose
from launch.prepare import RunPlan
from launch.query.run_status import RunStatus, query_status
from launch.study import driver, record, settings, trials
from launch.study.driver import Driver
from launch.study.settings import StudySettings

STEPS = (4, 8, 12)  # after which a run is evaluated; the last ends it
Study = Callable[..., Composed]


def top1(width: float, step: int) -> float:
    """What a run of a width reaches: more width, more accuracy, and all of them learn."""
    return round(100 * width + step, 2)


def macs(width: float) -> int:
    return round(1e8 * width)


class Cluster:
    """Runs that are handed over train for one look, and are done at the next one."""

    def __init__(self, top1: Callable[[float, int], float] = top1) -> None:
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.top1 = top1
        self.fails: set[int] = set()  # by their place in `started`
        self._held: dict[Path, ExitStack] = {}
        self._plans: dict[Path, RunPlan] = {}
        self._looks: dict[Path, int] = {}
        self._place: dict[Path, int] = {}

    def start(self, plans: Sequence[RunPlan]) -> int:
        for plan in plans:
            prepare.write(plan, lambda **_: b"")
            run = plan.run
            assert run.folder not in self._held
            self._place[run.folder] = len(self.started)
            self.started.append(run.name)
            stack = ExitStack()
            held = stack.enter_context(Lock.take(run.lock))
            held.write(attempt=1, job="7", pid=1, host="n1")
            note(run, 1, "claim", time.time(), job="7", restart=0, hosts=["n1"])
            self._held[run.folder], self._plans[run.folder] = stack, plan
            for step in STEPS[:-1]:
                self._evaluate(plan, step)
        return 0

    def look(self, runs: Sequence[Run]) -> tuple[list[RunStatus], list[str]]:
        found = query_status(runs)
        for run in (run for run in runs if run.folder in self._held):
            self._looks[run.folder] = self._looks.get(run.folder, 0) + 1
            if self._looks[run.folder] >= 2:
                self._finish(run)
        return found

    def stop(self, working: Sequence[RunStatus]) -> None:
        for one in working:
            self.stopped.append(one.run.name)
            if one.run.folder in self._held:
                note(one.run, 1, "end", time.time(), reason="stopped", step=8)
                self._held.pop(one.run.folder).close()

    def vanish(self) -> None:
        """End all that is at work without a word, as a power cut does."""
        while self._held:
            self._held.popitem()[1].close()

    def _evaluate(self, plan: RunPlan, step: int) -> None:
        assert plan.train.width is not None
        log(plan.run, step, "val", top1=self.top1(plan.train.width, step))
        log(plan.run, step, "wiring", macs=macs(plan.train.width))

    def _finish(self, run: Run) -> None:
        plan = self._plans[run.folder]
        assert plan.train.width is not None
        if self._place[run.folder] in self.fails:
            note(run, 1, "end", time.time(), reason="error", by="launcher", detail="no memory", step=8)
        else:
            self._evaluate(plan, STEPS[-1])
            finish(run, top1=self.top1(plan.train.width, STEPS[-1]), macs=macs(plan.train.width), steps=12)
            note(run, 1, "end", time.time(), reason="done", step=12)
        self._held.pop(run.folder).close()


@pytest.fixture
def study(tmp_path: Path, launch_shards: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Composes the line of an adaptive sweep with more words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "POLL_S", 0.0)
    plan, known = trials.plan, {}

    def planned(of: StudySettings, params: Any, in_foreground: bool) -> RunPlan:
        key = (str(of.trial_words(params)), str(of.kept), in_foreground)
        if key not in known:
            known[key] = plan(of, params, in_foreground)
        return known[key]

    monkeypatch.setattr(trials, "plan", planned)

    def typed(*words: str) -> Composed:
        line = ["-m", "+exp=static_dnw", f"data.dir={launch_shards}", "steps=12", "hydra/sweeper=optuna"]
        line += [*words] if any("width" in word for word in words) else [*words, "width=interval(0.02,0.4)"]
        (composed,) = compose(line)
        return composed

    return typed


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return use(Cluster(), monkeypatch)


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Have drivers look at this cluster."""
    monkeypatch.setattr(driver, "query_status", cluster.look)
    monkeypatch.setattr(cancel, "stop", cluster.stop)
    return cluster


def goes_on(composed: Composed, cluster: Cluster) -> int:
    """Type the line once: the exit code."""
    of = settings.read(composed)
    with record.opened(of.folder, of.directions) as opened:
        trials.check_same(opened, of)
        return Driver(of, opened, in_foreground=False).run_in_background(cluster.start)
