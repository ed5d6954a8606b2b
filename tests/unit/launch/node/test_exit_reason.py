"""Which node and which reason the launcher settles on, of all that workers and agents have left."""

import signal
from pathlib import Path
from typing import Any

import pytest

from dnw.preemption import PEER_FAILED, STOPPED
from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from launch.node import exit_reason, meeting, retry_policy
from launch.node.topology import Node

NODE = Node(0, 2, "n1", "7", 0, ("n1", "n2"))
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
    alone = Node(0, 1, "n1", "7", 0, ("n1",))
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


@pytest.mark.parametrize("code", [255, 128 + 99])
def test_an_exit_code_of_no_signal_is_an_error(tmp_path: Path, code: int) -> None:
    """As of the runtime of a container, whatever failed there."""
    assert concluded(tmp_path, [], (code, 0))["reason"] == "error"


def test_a_signal_without_a_name(tmp_path: Path) -> None:
    number = signal.SIGRTMIN + 2
    assert concluded(tmp_path, [], (-number, 0))["detail"] == f"by signal {int(number)} on n1"


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(1 << 40)  # takes no room
        file.seek(0, 2)
        file.write(b"\n\xff first\n\nlast\n")
    assert exit_reason.tail(log)[-2:] == ["\ufffd first", "last"]


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


def test_damaged_code_is_an_error_of_no_node(tmp_path: Path) -> None:
    """One node saw it, the others could not meet it."""
    run, why = Run(tmp_path), "code.zip: dnw/a.py is not what was frozen"
    ledger.claim(run, 1, hosts=["n1", "n2"])
    reports: dict[int, dict[str, Any]] = {
        0: {"code": meeting.UNMET},
        1: {"code": meeting.DAMAGED, "detail": why},
    }
    assert exit_reason.conclude(exit_reason.Ended(run, 1, NODE, reports, None, None)) == exit_reason.FAILED
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert (last.reason, last.end["detail"], last.end.get("node")) == ("error", why, None)
    assert not retry_policy.decide([last], error_retries=1).again


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


def of_reports(tmp_path: Path, reports: dict[int, dict[str, Any]]) -> dict[str, Any]:
    run = Run(tmp_path)
    ledger.claim(run, 1, job="7", restart=0, hosts=["n1", "n2"])
    assert exit_reason.conclude(exit_reason.Ended(run, 1, NODE, reports, None, None)) == exit_reason.FAILED
    (attempt,) = ledger.read(run)
    assert attempt.end is not None
    return {key: attempt.end.get(key) for key in ("reason", "detail", "node", "nodes", "peer")}


def test_a_node_that_could_not_take_part_is_named(tmp_path: Path) -> None:
    """What became of the others, that waited for it, doesn't matter."""
    told = {"code": meeting.LACKING, "detail": "torch can't be imported"}
    for first in (1, meeting.UNMET, -int(PEER_FAILED), 128 + signal.SIGABRT):
        run = tmp_path / str(first)
        run.mkdir()
        assert of_reports(run, {0: {"code": first}, 1: told}) == {
            **{"reason": "unfit", "detail": "n2: torch can't be imported", "node": "n2", "nodes": ["n2"]},
            "peer": None,
        }


def test_a_node_without_room_is_left_at_once_and_no_other(tmp_path: Path) -> None:
    full = {"code": meeting.LACKING, "detail": "no temporary folder", "fault": "node"}
    doubtful = {"code": meeting.LACKING, "detail": "torch can't be imported"}
    assert of_reports(tmp_path, {0: doubtful, 1: full})["nodes"] == ["n2"]
    assert retry_policy.nodes_to_exclude(ledger.read(Run(tmp_path))) == ["n2"]


def test_a_node_that_could_not_reach_the_first_one(tmp_path: Path) -> None:
    told = {"code": meeting.UNREACHED, "detail": "can't reach 10.0.0.1, port 7: no route to host"}
    found = of_reports(tmp_path, {0: {"code": 1}, 1: told})
    assert (found["node"], found["peer"]) == ("n2", "n1")


def test_a_node_that_did_not_come(tmp_path: Path) -> None:
    found = of_reports(tmp_path, {0: {"code": meeting.UNMET}})
    assert (found["reason"], found["detail"], found["node"]) == ("unfit", "n2 did not come", "n2")


def test_nodes_that_all_waited_in_vain_blame_none(tmp_path: Path) -> None:
    found = of_reports(tmp_path, {0: {"code": meeting.UNMET}, 1: {"code": meeting.UNMET}})
    assert (found["reason"], found["node"]) == ("unfit", None)
