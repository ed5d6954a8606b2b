"""What nodes ask of the file system that they share while they wait for one another."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from launch.node import signals, waiting
from launch.node.signals import StopRequests
from launch.node.timeouts import LOOK_S, MOST_LOOKS, POLL_S, look_s
from launch.node.topology import Node


class Asked:
    """A clock that goes on where somebody sleeps, and how often a folder is asked something, by second."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.now_s, self.seconds, self.times = 0.0, Counter[int](), list[float]()
        clock = SimpleNamespace(
            monotonic=lambda: self.now_s, time=lambda: STARTED_S + self.now_s, sleep=self.sleep
        )
        for module in (waiting, signals):
            patch.setattr(module, "time", clock)
        for name in ("stat", "open", "listdir", "scandir"):
            patch.setattr(os, name, partial(self.counted, getattr(os, name), str(folder)))

    def counted(self, real: Any, folder: str, path: Any, *words: Any, **options: Any) -> Any:
        if str(path).startswith(folder):
            self.seconds[int(self.now_s)] += 1
            self.times.append(self.now_s)
        return real(path, *words, **options)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def wait(self, timeout: float) -> int:
        """An agent's, which works all the time."""
        self.sleep(timeout)
        if self.now_s < LONG_S:
            raise subprocess.TimeoutExpired("agent", timeout)
        return 0


LONG_S = 600
STARTED_S = 1_700_000_000.3  # by the clock


def wait_for_the_first_node(node: Node, run: Run, _asked: Any) -> None:
    with pytest.raises(TimeoutError, match=f"has begun no attempt within {LONG_S} s"):
        waiting.next_attempt(run, node, 0, StopRequests(impatient=False), LONG_S)


def wait_for_an_end(node: Node, run: Run, asked: Any) -> None:
    look = partial(waiting.look, Claim(run, 1), node)
    StopRequests(impatient=False).watch(asked, 9, look, *waiting.pauses_s(node))


@pytest.mark.parametrize("wait", [wait_for_the_first_node, wait_for_an_end])
@pytest.mark.parametrize("nodes", [2, 65, 513])
def test_what_nodes_that_wait_ask_of_the_file_system(
    tmp_path: Path, wait: Callable[[Node, Run, Any], None], nodes: int
) -> None:
    """At most twice a second and node, and 50 times a second in all, which is not at one moment."""
    run, seconds = Run(tmp_path), list[list[int]]()
    Claim.take_over(run)
    for rank in (1, nodes // 2, nodes - 1):
        node = Node(rank, nodes, "n0", "7", 0, tuple(f"n{number}" for number in range(nodes)))
        with pytest.MonkeyPatch.context() as patch:
            asked = Asked(tmp_path, patch)
            wait(node, run, asked)
        counts = {second: times for second, times in asked.seconds.items() if times and second}
        assert max(counts.values()) <= 2
        assert 0 < asked.seconds.total() <= min(2, 50 / nodes) * LONG_S + 2
        seconds.append(sorted(counts))
        for at_s in asked.times[1:]:  # the first look of all is at whether the run is done
            assert is_turn(node, STARTED_S + at_s, wait)
    assert nodes < 513 or not set(seconds[0]) & set(seconds[1])


def is_turn(node: Node, at_s: float, wait: Callable[[Node, Run, Any], None]) -> bool:
    """Whether it is a node's turn."""
    between_s = look_s(node.count, POLL_S if wait is wait_for_the_first_node else LOOK_S)
    return abs((at_s - between_s * node.rank / node.count + 1e-3) % between_s) < 2e-3


@pytest.mark.parametrize("nodes", [65, 513])
def test_turns_are_spread_however_the_nodes_have_started(monkeypatch: pytest.MonkeyPatch, nodes: int) -> None:
    between_s, draw, looks = look_s(nodes), random.Random(7), list[float]()
    for rank in range(1, nodes):
        node = Node(rank, nodes, "n0", "7", 0, ())
        now_s = STARTED_S + draw.uniform(0, 3)
        monkeypatch.setattr(waiting, "time", SimpleNamespace(time=lambda now_s=now_s: now_s))
        first_s = now_s + waiting.until_turn_s(node, between_s)
        looks += [first_s + between_s * number for number in range(int(60 / between_s))]
    seconds = Counter(int(at_s) for at_s in looks)
    assert max(seconds[int(STARTED_S) + second] for second in range(20, 40)) in range(30, MOST_LOOKS + 2)


NODE = Node(1, 2, "n1", "7", 0, ("n1", "n2"))
OURS = {"job": "7", "restart": 0, "attempt": 1, "address": "10.0.0.1"}


def test_the_first_node_has_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen twice: it may have been writing just then."""
    run, said = Run(tmp_path), [OURS, {}, OURS, {}, {}, OURS | {"attempt": 2}]
    monkeypatch.setattr("dnw.runs.lock.read", lambda _path: said.pop(0))
    monkeypatch.setattr(StopRequests, "pause", lambda *_: None)
    assert waiting.next_attempt(run, NODE, 1, StopRequests(impatient=False), 60) is None
    assert len(said) == 1


def test_the_first_node_passes_on_that_another_could_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each node would have to look for that, too."""
    run = Run(tmp_path)
    claim = Claim.take_over(run)
    run.unfit.mkdir()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    (run.unfit / "7-0-1").write_text("n2\n/no/python: not there")
    assert waiting.look(claim, NODE) == "works"
    assert waiting.look(claim, Node(0, 2, "n1", "7", 0, ("n1", "n2"))) == "failed"
    assert waiting.look(claim, NODE) == "failed"
    (report,) = claim.folder.iterdir()
    assert json.loads(report.read_text()) == {"code": 69, "detail": "/no/python: not there"}
