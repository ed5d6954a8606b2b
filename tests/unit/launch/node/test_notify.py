"""Notices: which there are, and real shell commands that get them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from example import train
from run_folder import finish, make

from dnw.runs import ledger
from dnw.runs.claim import Claim
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt, Reason
from launch.cluster import submit
from launch.config import Cluster, Launch, Notify
from launch.node import exit_reason, notify, retry_policy
from launch.node.job import Job
from launch.node.signals import StopRequests
from launch.node.topology import LOOPBACK, Node
from launch.prepare import RunPlan


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = make(tmp_path / "runs")
    run.code.mkdir()
    return run


def ended(reason: str, first: int = 5, saved: int = 5, **facts: Any) -> Attempt:
    end = {"reason": reason, "step": 7, "saved": saved, "detail": "the cause", **facts}
    return Attempt(3, claim={"job": "7", "host": "n1"}, start={"step": first}, end=end)


def test_the_setting_reaches_the_job(run: Run) -> None:
    cluster = Cluster(name="slurm", grace_s=60)
    launch = Launch(
        nodes=1, nproc=1, runs_dir=run.folder, fresh=False, dry_run=False, port=None,
        notify=Notify(command="tell"), cluster=cluster,
    )  # fmt: skip
    assert submit.job(RunPlan(run, train(), launch)).notify == "tell"


@pytest.mark.parametrize(
    ("last", "code", "is_asked", "event"),
    [
        (ended("done"), exit_reason.DONE, False, "done"),
        (ended("done"), exit_reason.DONE, True, "done"),  # asked while it was ending
        (ended("error"), exit_reason.FAILED, False, "failed"),
        (ended("error"), exit_reason.FAILED, True, "failed"),  # by Ctrl-C, and failed as it saved
        (ended("diverged"), DIVERGED, False, "diverged"),
        (ended("diverged"), DIVERGED, True, "diverged"),  # asked while it was ending
        (ended("error", cause="preempted"), exit_reason.FAILED, True, None),  # goes on
        (ended("killed"), exit_reason.FAILED, False, "no progress"),
        (ended("hung"), exit_reason.FAILED, False, "no progress"),
        (ended("killed"), exit_reason.FAILED, True, None),  # a second Ctrl-C
        (ended("stopped"), 75, True, None),
        (ended("stopped", cause="preempted"), 75, True, None),
        (ended("stopped", cause="timeout", saved=9), 75, True, None),
        (ended("stopped", cause="timeout"), 75, True, "no progress"),
        (ended("killed", cause="timeout"), exit_reason.FAILED, True, "no progress"),
    ],
)
def test_what_there_is_to_tell(last: Attempt, code: int, is_asked: bool, event: str | None) -> None:
    assert notify.event(last, code, is_asked) == event


def test_a_command_gets_it(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    finish(run)
    log = run.log(3, 0)
    log.write_text("before\n")
    command = f'cat > "{run.folder}/told"; echo "$DNW_RUN, $DNW_EVENT"; echo more >&2'
    notify.send(command, run, ended("done"), "done", log)
    told = json.loads((run.folder / "told").read_text())
    assert abs(told.pop("time") - time.time()) < 60
    assert told == {
        **{"event": "done", "run": run.name, "folder": str(run.folder), "job": "7", "host": "n1"},
        **{"attempt": 3, "reason": "done", "detail": "the cause", "step": 10, "top1": 61.5},
    }
    assert log.read_text() == f"before\n{run.name}, done\nmore\n"
    assert capfd.readouterr() == ("", "")


def test_of_a_failed_run(run: Run) -> None:
    told = notify.told(run, ended("error"), "failed")
    assert (told["event"], told["reason"], told["step"], told["top1"]) == ("failed", "error", 7, None)


@pytest.mark.parametrize("command", ["exit 3", "cat > /dev/null; exit 3"])
def test_a_command_that_fails_costs_a_line(run: Run, capfd: pytest.CaptureFixture[str], command: str) -> None:
    notify.send(command, run, ended("error"), "failed", run.log(3, 0))
    said = capfd.readouterr().err
    assert said == (
        f"{run.name}: notify.command: exit code 3; the run is as it was; what it printed: {run.log(3, 0)}\n"
    )


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LIMIT_S", 0.3)
    began = time.monotonic()
    notify.send(f"sleep 50 & echo $! > {run.folder}/pid; sleep 50", run, ended("error"), "failed", None)
    assert time.monotonic() - began < 10
    assert "notify.command: ended after 0.3 s; the run is as it was\n" in capfd.readouterr().err
    process = Path("/proc", (run.folder / "pid").read_text().strip(), "stat")
    deadline = time.monotonic() + 10
    while process.exists() and process.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_where_it_can_not_be_started(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    notify.send("true", run, ended("error"), "failed", run.folder)
    assert "notify.command: [Errno 21] Is a directory" in capfd.readouterr().err


class TestJob:
    """When a job calls it; its attempts end as they are told to."""

    NODE = Node(0, 1, LOOPBACK, "7", 0, ("n1",))

    @pytest.fixture
    def lead(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(StopRequests, "listen", lambda self: None)  # the test runner's own handlers stay

        def work(*reasons: Reason, command: str = f"cat >> {run.folder}/told; exit 9", **more: Any) -> int:
            ends = iter(reasons)

            def attempt(
                job: Job, claim: Claim, node: Node, held: object, stop: StopRequests, _: object
            ) -> int:
                reason = next(ends)
                ledger.claim(run, claim.number, job="7", restart=0, hosts=["n1"])
                ledger.start(run, claim.number, step=0)
                if reason == "done":
                    finish(run)
                if reason == "stopped":
                    stop.signal = signal.SIGTERM
                ledger.end(run, claim.number, reason, step=claim.number, saved=claim.number)
                return {"done": exit_reason.DONE, "stopped": 75}.get(reason, exit_reason.FAILED)

            monkeypatch.setattr(Job, "_attempt", attempt)
            return Job(run.folder, 1, 1, 20, notify=command, **more).run()

        return work

    def told(self, run: Run) -> list[dict[str, Any]]:
        path = run.folder / "told"
        text = path.read_text().replace("}{", "}\n{") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def test_done_once(self, run: Run, lead: Any) -> None:
        assert lead("killed", "done") == exit_reason.DONE
        assert lead() == exit_reason.DONE  # typed again
        (told,) = self.told(run)
        assert (told["event"], told["attempt"], told["top1"]) == ("done", 2, 61.5)

    def test_failed(self, run: Run, lead: Any) -> None:
        assert lead("error", "error", error_retries=1) == exit_reason.FAILED
        (told,) = self.told(run)
        assert (told["event"], told["attempt"], told["reason"]) == ("failed", 2, "error")

    def test_without_progress(self, run: Run, lead: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry_policy, "progressed", lambda attempt: False)
        assert lead("killed", "hung") == exit_reason.FAILED
        (told,) = self.told(run)
        assert (told["event"], told["reason"]) == ("no progress", "hung")

    def test_a_stop_is_no_news(self, run: Run, lead: Any) -> None:
        assert lead("stopped") == 75
        assert self.told(run) == []

    def test_the_lock_is_free_by_then(self, run: Run, lead: Any) -> None:
        command = f"flock --nonblock {run.lock} true && cat >> {run.folder}/told"
        assert lead("done", command=command) == exit_reason.DONE
        assert len(self.told(run)) == 1
