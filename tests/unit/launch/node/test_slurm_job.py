"""What a job understands of Slurm's answers; the answers are those of a real Slurm 22.05."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dnw.runs.ledger import Cause
from dnw.runs.lock import HolderState
from launch.node import slurm_job
from launch.node.topology import Node

NODE = Node(0, 1, "n1", "7", 0, ("n1",), in_slurm=True)
SHOWN = (
    "JobId=7 JobName=dnw JobState={state} Reason={reason} Requeue=1 Restarts={restarts} ExitCode=0:0 {more}"
)


def program(folder: Path, name: str, text: str, code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
    path.chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others in PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        (("RUNNING", "None", 0, "PreemptTime=2026-11-23T01:08:04"), "preempted"),
        (("COMPLETING", "None", 1, ""), "requeued"),
        (("COMPLETING", "None", 0, "PreemptTime=None"), "cancelled"),
        (("COMPLETING", "TimeLimit", 0, "PreemptTime=None"), "timeout"),
        (("RUNNING", "None", 0, "PreemptTime=None"), "signalled"),
    ],
)
def test_why_it_is_stopping(commands: Path, shown: tuple[str, str, int, str], cause: Cause | None) -> None:
    state, reason, restarts, more = shown
    program(commands, "scontrol", SHOWN.format(state=state, reason=reason, restarts=restarts, more=more))
    assert slurm_job.why_stopping(NODE) == cause


def test_without_slurms_commands_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm_job.why_stopping(NODE) is None
    assert slurm_job.why_ended("7", 0) is None
    assert slurm_job.silent(["n1"]) == []
    assert slurm_job.requeue("7") == "scontrol: not found here"


def test_without_them_the_end_that_was_told_in_advance_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for end, cause in ((time.time() + 30, "timeout"), (time.time() + 3000, None)):
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(end)))
        assert slurm_job.why_stopping(NODE) == cause
    program(tmp_path, "squeue", "", code=1)  # that one could tell, later
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1")
    assert slurm_job.why_stopping(NODE) is None


@pytest.mark.parametrize(
    ("columns", "cause"),
    [
        (("RUNNING", "None", "0", "N/A"), "signalled"),
        (("RUNNING", "", "0", "2026-11-23T01:08:04"), "preempted"),
        (("COMPLETING", "Node went down", "1", "N/A"), "requeued"),
        (("COMPLETING", "TimeLimit", "0", "N/A"), "timeout"),
    ],
)
def test_where_there_is_squeue_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: tuple[str, ...], cause: Cause
) -> None:
    """Its columns are as wide as they were asked for: a reason may have blanks in it, or be none."""
    program(tmp_path, "squeue", "".join(f"{one:40}" for one in columns))
    monkeypatch.setattr(slurm_job, "can_requeue", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm_job.why_stopping(NODE) == cause


def test_why_earlier_starts_ended(commands: Path) -> None:
    program(commands, "sacct", "7|PREEMPTED\n7|NODE_FAIL\n7|CANCELLED by 1000\n7|RUNNING")
    said = [slurm_job.why_ended("7", restart) for restart in range(5)]
    assert said == ["preempted", "node failure", "cancelled", None, None]


def test_nodes_that_are_lost(commands: Path) -> None:
    program(commands, "sinfo", "n1 idle\nn2 down*\nn3 completing*\nn2 down*\nn4 allocated")
    assert slurm_job.silent(["n1", "n2", "n3", "n4"]) == ["n2", "n3"]


@pytest.mark.parametrize(
    ("record", "standing"),
    [
        ({"job": "7", "restart": 0, "slurm": True}, "unknown"),  # this very start of this job
        ({"job": "5", "restart": 0, "slurm": False}, "unknown"),  # a process somewhere
        ({"job": "5", "restart": 0, "slurm": True}, "works"),
    ],
)
def test_standing_of_another_attempt(
    commands: Path, record: dict[str, object], standing: HolderState
) -> None:
    program(commands, "squeue", "5|RUNNING\n")
    assert slurm_job.holder_state(NODE, record) == standing


def test_an_earlier_start_of_the_same_job_is_gone(commands: Path) -> None:
    later = Node(0, 1, "n1", "7", 2, ("n1",), in_slurm=True)
    assert slurm_job.holder_state(later, {"job": "7", "restart": 1, "slurm": True}) == "gone"


def test_a_job_that_slurm_has_forgotten_is_gone(commands: Path) -> None:
    program(commands, "squeue", "")
    assert slurm_job.holder_state(NODE, {"job": "5", "restart": 0, "slurm": True}) == "gone"


# Of an array whose last element, 7_2, has the array's own id; as `scontrol --oneliner show job 7` lists it.
ARRAY = """\
JobId=7 ArrayJobId=7 ArrayTaskId=2 JobName=dnw JobState=RUNNING Reason=None Restarts=0 PreemptTime=None
JobId=9 ArrayJobId=7 ArrayTaskId=1 JobName=dnw JobState=COMPLETING Reason=None Restarts=0 PreemptTime=None
JobId=8 ArrayJobId=7 ArrayTaskId=0 JobName=dnw JobState=RUNNING Reason=None Restarts=3 PreemptTime=2026"""


@pytest.mark.parametrize(("index", "cause"), [(0, "requeued"), (1, "cancelled"), (2, "signalled"), (3, None)])
def test_of_several_records_each_element_reads_its_own(
    commands: Path, index: int, cause: Cause | None
) -> None:
    program(commands, "scontrol", ARRAY)
    assert slurm_job.why_stopping(replace(NODE, job=f"7_{index}")) == cause


def test_accounts_and_queue_of_several_elements(commands: Path) -> None:
    program(commands, "sacct", "7_1|CANCELLED by 0\n7_2|PREEMPTED\n7_2|TIMEOUT\n7_[3-4%2]|PENDING")
    assert [slurm_job.why_ended("7_2", restart) for restart in range(3)] == ["preempted", "timeout", None]
    program(commands, "squeue", "7_1|COMPLETING\n7_2|RUNNING\n7_4|REVOKED")
    records = [{"job": f"7_{index}", "restart": 0, "slurm": True} for index in (1, 2, 3, 4)]
    states = [slurm_job.holder_state(NODE, record) for record in records]
    assert states == ["gone", "works", "gone", "works"]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("slurm_load_jobs error: Invalid job id specified", "gone"),
        ("Unable to contact controller", "unknown"),
    ],
)
def test_no_answer_is_not_no(commands: Path, said: str, state: HolderState) -> None:
    (commands / "squeue").write_text(f"#!/bin/sh\necho {said!r} >&2\nexit 1\n")
    (commands / "squeue").chmod(0o755)
    assert slurm_job.holder_state(NODE, {"job": "5", "restart": 0, "slurm": True}) == state


def test_what_slurm_refuses(commands: Path) -> None:
    program(commands, "scontrol", "", code=1)
    assert slurm_job.requeue("7") == "scontrol: exit code 1"
