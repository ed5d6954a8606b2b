"""Whether Slurm is asked to start a stopped job again; scontrol is a stand-in that notes what it is asked."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.errors import LaunchError
from launch.node import follow_up, job, requeue
from launch.node.job import Job
from launch.node.topology import Node

NODE = Node(0, 2, "n1", "7", 0, ("n1", "n2"), in_slurm=True)


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes what it is asked in a file beside itself; it fails where that file can't be written."""
    program = tmp_path / "scontrol"
    program.write_text(
        '#!/bin/sh\necho "$*" 2>/dev/null >> "$(dirname "$0")/asked" || { echo no >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "asked"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited to be killed."""
    waits: list[float] = []
    monkeypatch.setattr(requeue, "time", SimpleNamespace(sleep=waits.append, monotonic=lambda: sum(waits)))
    return waits


AWAY = "echo Unable to contact slurm controller >&2; exit 1"
STATES = {
    "signalled": "JobState=RUNNING Restarts=0",
    "preempted": "JobState=RUNNING Restarts=0 PreemptTime=2026-11-23T01:08:04",
    "cancelled": "JobState=COMPLETING Restarts=0",
    "requeued": "JobState=PENDING Restarts=1",
}


def answers(scontrol: Path, away: int, then: str, refuses: str = "") -> None:
    """Have scontrol fail the first times that it is called, and then answer; each call is noted."""
    program = scontrol.with_name("scontrol")
    show = f"echo JobId=7 Reason=None {STATES[then]}"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{scontrol}\n[ $(wc -l <{scontrol}) -le {away} ] && {{ {AWAY}; }}\n'
        f'case "$*" in *"show job"*) {show} ;; *) {refuses or ":"} ;; esac\n'
    )


@pytest.mark.parametrize(
    ("away", "then", "times"), [(0, "signalled", 1), (3, "requeued", 1), (3, "signalled", 2)]
)
def test_asked_where_nobody_stops_the_job(
    scontrol: Path, slept: list[float], away: int, then: str, times: int
) -> None:
    """An order of which nobody knows what became is not given to the next start of the job."""
    answers(scontrol, away, then)
    assert requeue.ask(NODE) is None
    assert requeues(scontrol) == times


def test_asked_and_refused(scontrol: Path, slept: list[float]) -> None:
    answers(scontrol, 0, "signalled", refuses="echo Access denied >&2; exit 1")
    assert requeue.ask(NODE) == "scontrol: Access denied"
    assert slept == []


def requeues(scontrol: Path) -> int:
    """How often it was asked to requeue the job."""
    return scontrol.read_text().splitlines().count("requeue 7")


def stopped(folder: Path, cause: str | None, first: int = 10, saved: int = 15) -> Run:
    run = Run(folder)
    ledger.claim(run, 1, job="7", restart=0, hosts=["n1", "n2"])
    ledger.start(run, 1, step=first)
    more = {"cause": cause} if cause else {}
    ledger.end(run, 1, "stopped", step=saved, saved=saved, **more)
    return run


def test_ahead_of_the_time_limit_it_is_requeued(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    requeue.after_stop(stopped(tmp_path, "timeout"), NODE, signal.SIGUSR2)
    assert scontrol.read_text() == "requeue 7\n"
    assert slept == []


def test_without_progress_it_would_go_on_for_ever(
    tmp_path: Path, scontrol: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requeue.after_stop(stopped(tmp_path, "timeout", saved=10), NODE, signal.SIGUSR2)
    assert not scontrol.exists()
    assert "raise cluster.timeout_min; not started again" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_what_has_diverged_is_not_requeued(
    tmp_path: Path, scontrol: Path, slept: list[float], number: signal.Signals
) -> None:
    """Preempted, say, while it was ending."""
    run = stopped(tmp_path, None)
    ledger.end(run, 1, "diverged", by="launcher", saved=15)
    requeue.after_stop(run, NODE, number)
    assert not scontrol.exists()
    assert slept == []


@pytest.mark.parametrize(("number", "asked"), [(signal.SIGTERM, "requeue 7\n"), (signal.SIGINT, "")])
def test_a_signal_that_slurm_knows_nothing_of(
    tmp_path: Path, scontrol: Path, slept: list[float], number: signal.Signals, asked: str
) -> None:
    requeue.after_stop(stopped(tmp_path, "signalled"), NODE, number)
    assert (scontrol.read_text() if scontrol.exists() else "") == asked
    assert slept == []


def test_preempted_it_frees_its_nodes_at_once(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    """Also where it made no step: that isn't its fault."""
    requeue.after_stop(stopped(tmp_path, "preempted", saved=10), NODE, signal.SIGTERM)
    assert scontrol.read_text() == "requeue 7\n"
    assert slept == []


@pytest.mark.parametrize("cause", ["preempted", "timeout"])
def test_a_controller_that_was_away_is_asked_until_it_agrees(
    tmp_path: Path, scontrol: Path, slept: list[float], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """For half an hour here, longer than any grace time."""
    answers(scontrol, away=180, then="signalled")
    number = signal.SIGTERM if cause == "preempted" else signal.SIGUSR2
    requeue.after_stop(stopped(tmp_path, cause), NODE, number)
    assert requeues(scontrol) == 2
    assert scontrol.read_text().splitlines()[-1] == "requeue 7"
    assert slept[:5] == [1, 2, 4, 8, requeue.LONGEST_PAUSE_S]
    assert sum(slept) > 1700
    said = capsys.readouterr().err
    assert said.startswith("job 7 not requeued yet (")
    assert said.endswith("): scontrol: Unable to contact slurm controller; asking again\n")


@pytest.mark.parametrize("then", ["requeued", "cancelled"])
def test_the_next_start_is_not_requeued(
    tmp_path: Path, scontrol: Path, slept: list[float], then: str
) -> None:
    """Slurm had done so, and its answer was lost; or it was told to cancel the job meanwhile."""
    answers(scontrol, away=3, then=then)
    requeue.after_stop(stopped(tmp_path, "preempted"), NODE, signal.SIGTERM)
    assert requeues(scontrol) == 1


@pytest.mark.parametrize("has_scontrol", [True, False])
def test_where_slurm_refuses_or_can_not_be_asked_it_is_there_to_be_killed(
    tmp_path: Path,
    scontrol: Path,
    slept: list[float],
    has_scontrol: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(scontrol, away=0, then="signalled", refuses="echo disabled >&2; exit 1")
    if not has_scontrol:
        monkeypatch.setenv("PATH", "/nowhere")
    requeue.after_stop(stopped(tmp_path, "preempted"), NODE, signal.SIGTERM)
    assert requeue.LONGEST_GRACE_S <= sum(slept) <= requeue.LONGEST_GRACE_S + requeue.LONGEST_PAUSE_S
    none = "not found here, and no job can follow: the run was never submitted"
    why = "disabled" if has_scontrol else none
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        f"job 7 not requeued (preempted; Slurm may start it again): scontrol: {why}; type the submit command "
        "again to go on"
    )


@pytest.mark.parametrize("follows", [True, False])
def test_a_job_that_is_never_requeued_is_followed_by_another(
    tmp_path: Path, scontrol: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    """A plug-in of the site has made it one with Requeue=0; its compute nodes may have no sbatch."""
    told: list[list[str]] = []

    def submit(_run: Run, _node: Node, exclude: Sequence[str] = (), others: Sequence[Run] = ()) -> str | None:
        told.append(list(exclude))
        return None if follows else "sbatch: no"

    monkeypatch.setattr(follow_up, "submit", submit)
    monkeypatch.setattr(requeue, "LONGEST_GRACE_S", 1)
    never = "echo Requested operation is presently disabled for job 7 >&2; exit 1"
    answers(scontrol, away=0, then="signalled", refuses=f'case "$*" in requeue*) {never};; esac')
    run = stopped(tmp_path, "preempted")
    requeue.after_stop(run, NODE, signal.SIGTERM)
    assert (slept == []) == follows
    assert requeue.elsewhere(run, NODE, ["n2"]) == follows
    assert told == [[], ["n2"]]
    assert "update" not in scontrol.read_text()


@pytest.mark.parametrize(("then", "times"), [("signalled", 1), ("preempted", 1), ("cancelled", 0)])
def test_a_term_that_is_explained_later(
    tmp_path: Path, scontrol: Path, slept: list[float], then: str, times: int
) -> None:
    """The controller was away when it came."""
    answers(scontrol, away=100, then=then)
    requeue.after_stop(stopped(tmp_path, None), NODE, signal.SIGTERM)
    assert requeues(scontrol) == times
    assert sum(slept) > requeue.LONGEST_GRACE_S


def test_a_term_that_nobody_explains(
    tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    requeue.after_stop(stopped(tmp_path, None), NODE, signal.SIGTERM)
    assert sum(slept) >= requeue.LONGEST_GRACE_S


@pytest.mark.parametrize("cause", ["requeued", "cancelled", "node failure"])
def test_what_slurm_has_decided_is_decided(
    tmp_path: Path, scontrol: Path, slept: list[float], cause: str
) -> None:
    requeue.after_stop(stopped(tmp_path, cause), NODE, signal.SIGTERM)
    assert slept == []
    assert not scontrol.exists()


@pytest.mark.parametrize(("is_requeued", "asked"), [(True, 1), (False, 0)])
def test_only_a_job_that_is_to_start_again_asks(
    tmp_path: Path, scontrol: Path, monkeypatch: pytest.MonkeyPatch, is_requeued: bool, asked: int
) -> None:
    """cluster.requeue=false."""
    run = stopped(tmp_path, "preempted")
    run.code.mkdir()
    scontrol.touch()
    stop = SimpleNamespace(listen=lambda: None, signal=signal.SIGTERM)
    monkeypatch.setattr(job, "StopRequests", lambda impatient: stop)
    monkeypatch.setattr(job, "this_node", lambda *_: NODE)
    monkeypatch.setattr(Job, "lead", lambda *_, **__: (75, None))
    assert Job(run.folder, nodes=2, nproc=1, grace_s=1, is_requeued=is_requeued).run() == 75
    assert requeues(scontrol) == asked


def test_a_node_on_which_nothing_can_begin_says_why_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def this_node(*_: object) -> Node:
        raise LaunchError("cluster.interface: no interface ib7 on n1")

    monkeypatch.setattr(job, "StopRequests", lambda impatient: SimpleNamespace(listen=lambda: None))
    monkeypatch.setattr(job, "this_node", this_node)
    with pytest.raises(SystemExit) as ended:
        Job(tmp_path, nodes=2, nproc=1, grace_s=1)()
    assert ended.value.code == "cluster.interface: no interface ib7 on n1"


def test_a_ctrl_c_is_the_end(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    requeue.after_stop(stopped(tmp_path, None), NODE, signal.SIGINT)
    assert slept == []
    assert not scontrol.exists()


def test_nodes_that_failed_twice_are_left(
    tmp_path: Path, scontrol: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requeue.elsewhere(Run(Path("run")), NODE, ["n2"])
    asked = scontrol.read_text().splitlines()
    assert [line for line in asked if "show" not in line] == ["requeue 7", "update JobId=7 ExcNodeList=n2"]
    assert "n2 excluded from now on: failed twice, or unfit" in capsys.readouterr().err


PARTITION = "PartitionName=low Default=YES TotalNodes={nodes} MaxTime=UNLIMITED"


def answering(scontrol: Path, nodes: int) -> None:
    """Have Slurm tell of a partition, and of a job that keeps away from n9 already."""
    program = scontrol.with_name("scontrol")
    said = f"*partition*) echo {PARTITION.format(nodes=nodes)};; *job*) echo JobId=7 ExcNodeList=n9;;"
    program.write_text(program.read_text() + f'case "$*" in {said} esac\n')


def test_nodes_that_were_excluded_before_stay_so(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_PARTITION", raising=False)
    answering(scontrol, nodes=5)
    assert requeue.elsewhere(Run(Path("run")), NODE, ["n1", "n2"])
    assert scontrol.read_text().splitlines()[-1] == "update JobId=7 ExcNodeList=n9,n1,n2"


def test_too_few_nodes_would_be_left(
    scontrol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SLURM_JOB_PARTITION", raising=False)
    answering(scontrol, nodes=4)  # one of which is left out already
    assert not requeue.elsewhere(Run(Path("run")), NODE, ["n1", "n2"])
    assert "requeue 7" not in scontrol.read_text()
    assert (
        "n1, n2 failed twice, or unfit; not excluded: too few nodes would be left" in capsys.readouterr().err
    )


def test_where_slurm_refuses_nodes_do_not_lie_idle(
    scontrol: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    program = scontrol.with_name("scontrol")
    program.write_text(
        program.read_text() + 'case "$*" in requeue*) echo "Requeue disabled" >&2; exit 1;; esac\n'
    )
    assert not requeue.elsewhere(Run(Path("run")), NODE, ["n2"])
    assert [line for line in scontrol.read_text().splitlines() if "show" not in line] == ["requeue 7"]
    assert "n2 failed twice, or unfit; not left, as job 7 can't be requeued" in capsys.readouterr().err
    assert slept == []


def test_without_an_answer_a_partition_is_taken_to_have_enough_nodes(scontrol: Path) -> None:
    program = scontrol.with_name("scontrol")
    program.write_text(program.read_text() + f'case "$*" in *partition*) {AWAY};; esac\n')
    assert requeue.elsewhere(Run(Path("run")), NODE, ["n2"])
    assert requeues(scontrol) == 1


def test_a_term_without_reason_is_no_reason_to_go_on_for_ever(
    tmp_path: Path, scontrol: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The task of another node fails as soon as it starts, and srun ends this one."""
    run = stopped(tmp_path, "signalled", first=10, saved=10)
    requeue.after_stop(run, NODE, signal.SIGTERM)
    ledger.claim(run, 2, job="7", restart=1, hosts=["n1", "n2"])
    ledger.end(run, 2, "stopped", cause="signalled", saved=10)
    requeue.after_stop(run, NODE, signal.SIGTERM)
    assert scontrol.read_text() == "requeue 7\n"
    assert (
        f"twice in a row before anything was saved: not started again; the task of another node may have "
        f"failed, see {run.slurm}" in capsys.readouterr().err
    )
    assert slept == []
