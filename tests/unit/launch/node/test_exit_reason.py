"""Which node and which reason the launcher settles on, of all that workers and agents have left."""

import signal
from pathlib import Path
from typing import Any

import pytest

from dnw.preemption import STOPPED
from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from launch.node import exit_reason
from launch.node.topology import Node

NODE = Node(0, 2, "n1", "n1", "7", 0, ("n1", "n2"))
DEVICE = {
    "reason": "killed",
    "fault": "device",
    "detail": "GPU fault, rank 3 on n2: ECC",
    "rank": 3,
    "host": "n2",
    "step": 4,
}
PEER = {
    "reason": "killed",
    "fault": "peer",
    "detail": "collective operation broken",
    "rank": 0,
    "host": "n1",
    "step": 4,
}
OWN = {"reason": "error", "detail": "ValueError: it went wrong", "rank": 2, "host": "n2", "step": 4}
ABORTED = 128 + signal.SIGABRT


def concluded(
    tmp_path: Path,
    ends: list[dict[str, Any]],
    codes: tuple[int, int],
    node: Node = NODE,
    asked: signal.Signals | None = None,
) -> dict[str, Any]:
    """The end that the ledger tells, where the workers wrote `ends` and the agents ended with `codes`."""
    tmp_path.mkdir(exist_ok=True)
    run = Run(tmp_path)
    ledger.start(run, 1, step=0, world=4)
    for end in ends:
        ledger.end(run, 1, **end)
    reports = {rank: {"code": code} for rank, code in enumerate(codes[: node.count])}
    ended = exit_reason.Ended(run, 1, node, reports, asked, None)
    assert exit_reason.conclude(ended) == exit_reason.FAILED
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    return last.end


@pytest.mark.parametrize("ends", [[DEVICE, PEER], [PEER, DEVICE], [PEER, PEER, DEVICE]])
@pytest.mark.parametrize("codes", [(1, 1), (ABORTED, 1), (ABORTED, ABORTED), (1, 128 + signal.SIGKILL)])
def test_the_node_whose_gpu_failed(
    tmp_path: Path, ends: list[dict[str, Any]], codes: tuple[int, int]
) -> None:
    end = concluded(tmp_path, ends, codes)
    assert (end["reason"], end["node"], end["detail"]) == ("killed", "n2", DEVICE["detail"])


def test_a_collective_that_broke_blames_no_node(tmp_path: Path) -> None:
    end = concluded(tmp_path, [PEER], (1, 1))
    assert (end["reason"], end.get("node")) == ("killed", None)
    alone = Node(0, 1, "n1", "n1", "7", 0, ("n1",))
    assert concluded(tmp_path / "alone", [PEER], (1, 1), alone)["node"] == "n1"


def test_a_peer_that_could_not_save_in_time_is_what_a_stop_came_to(tmp_path: Path) -> None:
    """Torchrun kills the worker that hangs on one node; those of the others see their connection closed."""
    end = concluded(tmp_path, [PEER], (STOPPED, 1), asked=signal.SIGTERM)
    assert (end["reason"], end["detail"]) == ("killed", "not saved in the time granted after SIGTERM")
    end = concluded(tmp_path / "own", [OWN, PEER], (STOPPED, 1), asked=signal.SIGTERM)
    assert (end["reason"], end["detail"]) == ("error", OWN["detail"])


def test_nccl_aborts_where_a_peer_was_killed(tmp_path: Path) -> None:
    end = concluded(tmp_path, [PEER], (ABORTED, 128 + signal.SIGKILL))
    assert (end["reason"], end["node"], end["detail"]) == ("killed", "n2", "by SIGKILL on n2")


@pytest.mark.parametrize("ends", [[OWN, PEER], [PEER, OWN]])
def test_nccl_aborts_where_a_peer_went_wrong(tmp_path: Path, ends: list[dict[str, Any]]) -> None:
    end = concluded(tmp_path, ends, (ABORTED, 1))
    assert (end["reason"], end["node"], end["detail"]) == ("error", "n2", OWN["detail"])


def test_an_abort_without_a_word(tmp_path: Path) -> None:
    end = concluded(tmp_path, [], (1, ABORTED))
    assert (end["reason"], end["node"], end["detail"]) == ("killed", "n2", "by SIGABRT on n2")


@pytest.mark.parametrize("codes", [(1, 1), (ABORTED, 1), (1, 128 + signal.SIGKILL)])
def test_a_divergence_holds_whatever_ended_the_ranks_then(
    tmp_path: Path, codes: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does it matter that a node is silent, or that the job was asked to stop meanwhile."""
    run = Run(tmp_path)
    ledger.start(run, 1, step=0, world=4)
    ledger.end(run, 1, "diverged", detail="the loss of step 7 is not finite", rank=2, step=8)
    for reports in ({0: {"code": codes[0]}, 1: {"code": codes[1]}}, {0: {"code": codes[0]}}):
        for asked in (None, signal.SIGTERM):
            ended = exit_reason.Ended(run, 1, NODE, reports, asked, None)
            assert exit_reason.conclude(ended) == DIVERGED
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert (last.reason, last.cause, last.end.get("node")) == ("diverged", "diverged", None)
    assert "failed (diverged): the loss of step 7 is not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ends", "codes"), [([PEER], (1, 128 + signal.SIGKILL)), ([OWN], (1, 1)), ([], (1, -signal.SIGKILL))]
)
def test_the_kernel_killed_for_memory(
    tmp_path: Path, ends: list[dict[str, Any]], codes: tuple[int, int]
) -> None:
    """A worker, a process that loads for it, or the agent; no node is at fault."""
    run = Run(tmp_path)
    ledger.start(run, 1, step=0, world=4)
    for end in ends:
        ledger.end(run, 1, **end)
    reports = {0: {"code": codes[0]}, 1: {"code": codes[1], "oom_kills": 1, "memory_mb": 2048}}
    ended = exit_reason.Ended(run, 1, NODE, reports, None, None)
    assert exit_reason.conclude(ended) == exit_reason.FAILED
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert (last.reason, last.end.get("node")) == ("killed", None)
    assert last.end["detail"] == (
        "out of memory on n2: the kernel killed 1 of its processes; the job's limit is 2,048 MB; raise "
        "cluster.mem_gb, or set a smaller nproc or data.workers"
    )
