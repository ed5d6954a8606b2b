"""Whom torchrun's ending of a worker tells of a failure; that one in C code ends by it: test_job.py."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.api import MultiprocessContext

from dnw.preemption import PEER_FAILED, STOPPED
from dnw.training.watchdog import HUNG
from launch.node.peer_failure import PeerFailedError, Peers


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def started(peers: Peers, monkeypatch: pytest.MonkeyPatch, *codes: int | None) -> list[Any]:
    """Workers that torchrun starts, with their exit codes so far."""
    terminated: list[int] = []
    processes = [
        SimpleNamespace(pid=number, exitcode=code, terminate=lambda number=number: terminated.append(number))
        for number, code in enumerate(codes, 100)
    ]
    context: Any = SimpleNamespace(_pc=SimpleNamespace(processes=processes), terminated=terminated)
    monkeypatch.setattr(MultiprocessContext, "_start", lambda _: None)
    peers.follow()
    MultiprocessContext._start(context)
    return [context, *processes]


@pytest.mark.parametrize(
    ("code", "is_failure"), [(1, True), (-9, True), (0, False), (STOPPED, False), (HUNG, False)]
)
def test_a_failure_is_told_before_the_others_are_ended(
    monkeypatch: pytest.MonkeyPatch, told: list[tuple[int, int]], code: int, is_failure: bool
) -> None:
    context, _, second, _ = started(Peers(), monkeypatch, code, None, None)
    second.terminate()
    assert told == ([(101, PEER_FAILED), (102, PEER_FAILED)] if is_failure else [])
    assert context.terminated == [101]


def test_a_failure_elsewhere_reaches_workers_that_are_being_started(
    monkeypatch: pytest.MonkeyPatch, told: list[tuple[int, int]]
) -> None:
    peers = Peers()
    started(peers, monkeypatch, None, 0)
    peers(PEER_FAILED, None)
    assert (peers.failed_elsewhere, told) == (True, [(100, PEER_FAILED)])
    told.clear()
    started(peers, monkeypatch, None, 0)  # by then it has come
    assert told == [(100, PEER_FAILED)]


def test_before_there_are_workers_nobody_waits_for_a_node_that_failed() -> None:
    peers = Peers()
    peers.wait()
    with pytest.raises(PeerFailedError):
        peers(PEER_FAILED, None)
    assert peers.failed_elsewhere


def test_a_library_that_is_being_imported_does_not_swallow_that_a_node_has_failed() -> None:
    peers = Peers()
    peers(PEER_FAILED, None)  # raises nothing yet
    with pytest.raises(PeerFailedError):
        peers.wait()
