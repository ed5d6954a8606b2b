"""What a job does that begins when others may be done; tests/slurm/pipelines has real jobs."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_folder import Slurm, finish, make, note, slurm, submit

import launch.node.requeue
from dnw.preemption import STOPPED
from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.lock import Lock
from launch.cluster.gated import PACK, WAIT
from launch.node import slurm_job
from launch.node.notices.channels import Channels
from launch.node.notify import handed_on
from launch.pack.marks import Marks
from launch.pipeline import gate
from launch.query.run_status import RunStatus

QUEUED = "{job}|PENDING|Priority||low|{at}|N/A|{script}"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setattr(gate, "SETTLE_S", 0.0)
    monkeypatch.setattr(gate, "ANSWER_S", 0.0)
    monkeypatch.setattr(gate, "PAUSE_S", 0.01)
    monkeypatch.setattr(gate, "POLL_S", 0.01)
    monkeypatch.setattr(gate, "DEPEND_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    made = slurm(tmp_path, monkeypatch)
    made.says("squeue")
    made.says("sacct")
    made.says("scontrol")
    return made


@pytest.fixture
def other(tmp_path: Path) -> Run:
    return make(tmp_path / "runs", "default-0000000001", exp="first")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs", "default-0000000002", exp="second")


def passed(run: Run, *others: Run) -> int:
    return gate.main([str(run.folder), *(str(other.folder) for other in others)])


def shared(here: Path, *jobs: dict[Run, list[Run]]) -> tuple[int, Marks]:
    """What the gate says of runs that share a job, and their marks."""
    path = here / "waiting.json"
    path.write_text(
        json.dumps(
            [
                {str(run.folder): [str(one.folder) for one in after] for run, after in job.items()}
                for job in jobs
            ]
        )
    )
    return gate.main([PACK, str(path)]), Marks(here)


def in_queue(cluster: Slurm, other: Run, job: str) -> None:
    one = submit(other, job)
    cluster.says("squeue", QUEUED.format(job=job, at=int(time.time()), script=f"{one.folder}/script.sh"))


def test_done_it_begins(cluster: Slurm, run: Run, other: Run) -> None:
    finish(other)
    assert passed(run, other) == gate.DONE
    assert not run.attempts.exists()
    assert cluster.calls == []


@pytest.mark.parametrize("job", ["12", "12_3"])
@pytest.mark.parametrize(
    "own", [{"SLURM_JOB_ID": "9"}, {"SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "2"}]
)
def test_at_work_it_waits_again(
    cluster: Slurm, monkeypatch: pytest.MonkeyPatch, run: Run, other: Run, job: str, own: dict[str, str]
) -> None:
    """For whichever job it is by now; that is no attempt."""
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    in_queue(cluster, other, job)
    assert passed(run, other) == STOPPED
    name = "8_2" if len(own) > 1 else "9"
    orders = [call for call in cluster.calls if call.startswith("scontrol")]
    assert orders == [f"scontrol requeue {name}", f"scontrol update JobId={name} Dependency=afterany:{job}"]
    assert not run.attempts.exists()


def test_what_has_begun_waits_no_more(cluster: Slurm, run: Run, other: Run) -> None:
    """It is started again after a preemption, and the other one's folder was moved away, or made anew."""
    ledger.claim(run, 1, job="9", restart=0, hosts=["n1"])
    ledger.start(run, 1, step=0)
    ledger.end(run, 1, "stopped", step=5, saved=5)
    in_queue(cluster, other, "12")
    assert passed(run, other) == gate.DONE
    assert [one.number for one in ledger.read(run)] == [1]


@pytest.mark.parametrize("kept", ["singleton,afterany:3", "afterany:3"])
def test_what_it_waits_for_besides(cluster: Slurm, run: Run, other: Run, kept: str) -> None:
    """An event that has been is no more to be waited for; of others of its name it stays the only one."""
    in_queue(cluster, other, "12")
    submit(run, "9")
    (run.slurm / "1" / "9_submission.sh").write_text(f"#!/bin/sh\n#SBATCH --dependency={kept}\n")
    assert passed(run, other) == STOPPED
    also = "singleton," * kept.startswith("singleton")
    assert cluster.calls[-1] == f"scontrol update JobId=9 Dependency={also}afterany:12"


def test_what_it_waits_for_is_told_again(
    cluster: Slurm, monkeypatch: pytest.MonkeyPatch, run: Run, other: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without, the job would start over and over as long as the other one works."""
    monkeypatch.setattr(slurm_job, "requeue", lambda _: None)
    in_queue(cluster, other, "12")
    cluster.says("scontrol", err="Job is completing\n", code=1)
    assert passed(run, other) == STOPPED
    assert [call.split()[1] for call in cluster.calls if call.startswith("scontrol")] == ["update"] * 3
    assert capfd.readouterr().err.endswith("; scontrol: Job is completing\n")


@pytest.mark.parametrize("requeues", [True, False])
def test_preempted_before_it_begins(
    cluster: Slurm, monkeypatch: pytest.MonkeyPatch, run: Run, other: Run, requeues: bool
) -> None:
    """Where Slurm cancels what it preempts, nobody else would start it again."""
    submit(run, "9")
    flag = "requeue" if requeues else "no-requeue"
    (run.slurm / "1" / "9_submission.sh").write_text(f"#!/bin/sh\n#SBATCH --{flag}\n")
    cluster.says("scontrol", "JobId=9 JobState=RUNNING Restarts=0 PreemptTime=2026-11-23T01:08:04\n")
    monkeypatch.setattr(launch.node.requeue, "FIRST_PAUSE_S", 0.01)

    def preempted(_: object) -> list[RunStatus]:
        gate._stop(signal.SIGTERM, None)

    monkeypatch.setattr(gate, "look", preempted)
    assert passed(run, other) == STOPPED
    assert ("scontrol requeue 9" in cluster.calls) == requeues
    assert not run.attempts.exists()


def test_where_a_job_may_not_be_requeued_another_follows(cluster: Slurm, run: Run, other: Run) -> None:
    in_queue(cluster, other, "12")
    submit(run, "9")
    files = run.slurm / "1"
    for name in ("9_submission.sh", "start.sh", "9_submitted.pkl"):
        (files / name).write_text("#SBATCH --dependency=afterok:4?singleton\n")
    cluster.says("scontrol", err="Requested operation is presently disabled for job 9\n", code=1)
    cluster.says("sbatch", "Submitted batch job 17\n")
    assert passed(run, other) == STOPPED
    (order,) = [call for call in cluster.calls if call.startswith("sbatch")]
    assert "--dependency=singleton,afterany:9:12 " in order
    assert json.loads(run.launch.read_text())["job"] == "17"


def test_failed_it_says_so_and_ends(
    cluster: Slurm,
    run: Run,
    other: Run,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And tells whoever asked to be told, once."""
    told = run.folder / "told.jsonl"
    for name, value in handed_on(
        f"/bin/cat >> {told}", Channels(mail=("me@here",), smtp="127.0.0.1:9")
    ).items():
        monkeypatch.setenv(name, value)
    submit(other, "12", at=1.0)
    note(other, 1, "claim", 2.0, job="12", restart=0, hosts=["n1"])
    note(other, 1, "end", 3.0, reason="error", detail="no room")
    assert passed(run, other) == gate.OVER
    said = (
        "first/default-0000000001 has failed (error: no room); once that is mended, type the command of both"
    )
    (attempt,) = ledger.read(run)
    assert attempt.end is not None
    assert (attempt.reason, attempt.job, attempt.end["detail"]) == ("dependency", "9", f"{said} again")
    begin, refused = capfd.readouterr().err.splitlines()
    assert begin == f"{run.name}: not begun: {said} again"
    assert refused.startswith(f"{run.name}: notify.mail: 127.0.0.1:9: ConnectionRefusedError")
    (notice,) = map(json.loads, told.read_text().splitlines())
    facts = {
        "event": "not begun",
        "reason": "dependency",
        "detail": f"{said} again",
        "attempt": 1,
        "step": None,
    }
    assert notice.items() >= facts.items()


def test_one_of_several(cluster: Slurm, tmp_path: Path, run: Run, other: Run) -> None:
    """That one waits changes nothing for a run that another keeps from beginning."""
    in_queue(cluster, other, "12")
    third = make(tmp_path / "runs", "default-0000000003", exp="third")
    assert passed(run, other, third) == gate.OVER
    assert "third/default-0000000003 was never submitted" in run.attempts.read_text()


def test_what_is_seen_late(cluster: Slurm, monkeypatch: pytest.MonkeyPatch, run: Run, other: Run) -> None:
    """A file that another node has just written, on NFS."""
    submit(other, "12", at=1.0)
    monkeypatch.setattr(gate, "SETTLE_S", 60.0)
    monkeypatch.setattr(time, "sleep", lambda _: finish(other))
    assert passed(run, other) == gate.DONE


def test_slurm_does_not_answer(cluster: Slurm, run: Run, other: Run) -> None:
    cluster.says("squeue", err="squeue: error: Unable to contact slurm controller\n", code=1)
    submit(other, "12")
    assert passed(run, other) == gate.OVER
    assert "nobody knows whether job 12 still works on it" in run.attempts.read_text()


def test_someone_works_on_the_run(cluster: Slurm, run: Run, other: Run) -> None:
    with Lock.take(run.lock) as held:
        held.write(attempt=1, job="-", pid=os.getpid(), host="here")
        assert passed(run, other) == gate.HELD
    assert not run.attempts.exists()


def test_of_runs_that_share_a_job_one_that_will_not_begin_keeps_none_from_it(
    cluster: Slurm, tmp_path: Path, run: Run, other: Run
) -> None:
    third, fourth = (make(tmp_path / "runs", f"default-000000000{n}", exp="third") for n in (3, 4))
    finish(other)
    code, marks = shared(tmp_path, {third: [other], run: [fourth]})
    assert code == gate.DONE
    assert (marks.of(run), marks.of(third)) == ("ended", "")
    assert not third.attempts.exists()
    (attempt,) = ledger.read(run)
    assert attempt.reason == "dependency"
    assert shared(tmp_path, {third: [other], run: [fourth]})[0] == gate.DONE  # started again: told once
    assert len(ledger.read(run)) == 1
    assert shared(tmp_path, {third: [fourth], run: [fourth]})[0] == gate.OVER
    assert marks.of(third) == "ended"


@pytest.mark.parametrize(("call", "code"), [("unmarked", gate.DONE), ("end", gate.OVER)])
def test_marks_that_fail_for_a_moment_end_no_job(
    cluster: Slurm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    other: Run,
    call: str,
    code: int,
) -> None:
    """Whether the run may begin, or is marked as one that won't."""
    if code == gate.DONE:
        finish(other)
    real: Any = getattr(Marks, call)
    failures = [OSError(errno.ESTALE, "Stale file handle")] * 2

    def fails_first(*words: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*words)

    monkeypatch.setattr(Marks, call, fails_first)
    monkeypatch.setattr("launch.pack.marks.AGAIN_S", 0.01)
    assert shared(tmp_path, {run: [other]})[0] == code
    assert not failures


def test_runs_that_share_a_job_begin_together(
    cluster: Slurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run, other: Run
) -> None:
    """The job of one that could begin waits for what the other one waits for; each element for its own."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "8")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    third, fourth, fifth = (make(tmp_path / "runs", f"default-000000000{n}", exp="third") for n in (3, 4, 5))
    finish(fourth)
    in_queue(cluster, other, "12")
    element = {third: [fourth], run: [other, fourth], fifth: [other]}
    code, marks = shared(tmp_path, {fifth: [run]}, element)
    assert code == STOPPED
    orders = [call for call in cluster.calls if call.startswith("scontrol")]
    assert orders == ["scontrol requeue 8_1", "scontrol update JobId=8_1 Dependency=afterany:12"]
    assert not any(marks.of(one) or one.attempts.exists() for one in (third, run, fifth))
    marks.cancel(run)
    marks.cancel(fifth)
    assert shared(tmp_path, {}, element)[0] == gate.DONE


@pytest.mark.parametrize("is_taken", [True, False])
def test_another_job_follows_that_of_runs_that_share_one(
    cluster: Slurm, tmp_path: Path, run: Run, other: Run, is_taken: bool
) -> None:
    in_queue(cluster, other, "12")
    beside = make(tmp_path / "runs", "default-0000000003", exp="third")
    files = tmp_path / "runs" / ".sweeps" / "1"
    files.mkdir(parents=True)
    for one in (run, beside):
        dataclasses.replace(submit(one, "9"), folder=str(files)).write(one)
    text = f"srun start.sh --pack {files}/waiting.json\n"
    for name in ("9_submission.sh", "start.sh", "9_submitted.pkl"):
        (files / name).write_text(text)
    cluster.says("scontrol", err="Requested operation is presently disabled for job 9\n", code=1)
    cluster.says("sbatch", "Submitted batch job 17\n" if is_taken else "", code=0 if is_taken else 1)
    finish(ready := make(tmp_path / "runs", "default-0000000004", exp="third"))
    code, marks = shared(files, {beside: [ready], run: [other]})
    if is_taken:
        assert code == STOPPED
        assert {json.loads(one.launch.read_text())["job"] for one in (run, beside)} == {"17"}
        (made,) = files.parent.glob("2")
        assert (made / "waiting.json").read_text() == (files / "waiting.json").read_text()
        assert f"--pack {made}/waiting.json" in (made / "job_submission.sh").read_text()
    else:
        assert code == gate.DONE
        assert (marks.of(run), marks.of(beside)) == ("ended", "")
        assert "this job can't wait again" in run.attempts.read_text()


def test_here_it_waits_for_as_long_as_it_takes(tmp_path: Path, run: Run, other: Run) -> None:
    """A process that works on the other one, and is killed."""
    script = f"""
import sys
from pathlib import Path
from dnw.runs.lock import Lock
with Lock.take(Path({str(other.lock)!r})) as held:
    held.write(attempt=1, job="-", pid=0, host="here")
    print("held", flush=True)
    sys.stdin.read()
"""
    line = [sys.executable, "-c", script]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "held\n"
        note(other, 1, "claim", 2.0, job="-", restart=0, hosts=["here"])
        words = [sys.executable, "-m", "launch.pipeline.gate", WAIT, str(run.folder), str(other.folder)]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(timeout=1.5)
            note(other, 1, "end", 3.0, reason="killed", detail="by SIGKILL")
            worker.kill()
            assert waiting.wait(timeout=60) == gate.OVER
    assert "first/default-0000000001 has failed (killed: by SIGKILL)" in run.attempts.read_text()
