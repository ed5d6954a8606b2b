"""What a cluster does to a run: each event as a function, and what it cost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker import assert_same_weights, losses

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from slurm.cluster import Cluster
from slurm.job import fields, state, submit, until

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    *["+exp=demo_dnw", "nodes=2", "nproc=1", "cluster=slurm"],
    *["batch=32", "micro_batch=8", "steps=40", "data.workers=0", "watchdog.seconds=20"],
    *["checkpoint.every_steps=5", "log.every_steps=1", "log.digests=true", "eval_every_epochs=5"],
]
SUBMITTED_WITHIN_S = 60  # on two cores that may be busy; undisturbed it takes 2
Undo = Callable[[], None]


def typed(cluster: Cluster, shards: Path, here: Path, *words: str, fault: str = "", root: Path = ROOT) -> str:
    """What the submit command prints, typed on the login node."""
    partition = ["cluster.partition=low"] if "cluster=local" not in words else []
    given = [*WORDS, *partition, f"data.dir={shards}", *words]
    line = [sys.executable, str(root / "launch" / "slurm.py"), *given]
    done = subprocess.run(
        line,
        cwd=here,
        env={**cluster.environment, "DNW_FAULT": fault},
        capture_output=True,
        text=True,
        timeout=SUBMITTED_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def the_run(here: Path) -> Run:
    (folder,) = (here / "runs" / "demo_dnw").iterdir()
    return Run(folder)


def job_of(run: Run) -> str:
    return str(json.loads(run.launch.read_text())["job"])


def steps(run: Run) -> int:
    """How far it has come."""
    return max((line["step"] for line in jsonl.read(run.metrics)), default=0)


def all_logs(run: Run) -> str:
    logs = sorted([*run.logs.glob("*.log"), *run.slurm.rglob("*log.*")])
    shown = "\n".join(f"== {log.name}\n{log.read_text()[-4000:]}" for log in logs)
    return f"{shown}\n== ledger\n{run.attempts.read_text() if run.attempts.exists() else ''}"


def finishes(run: Run, timeout_s: float = 150) -> None:
    """Wait until it is done."""
    deadline = time.monotonic() + timeout_s
    while not run.result.exists() or ledger.read(run)[-1].reason != "done":
        assert time.monotonic() < deadline, all_logs(run)
        time.sleep(0.1)


def nodes_of(cluster: Cluster, run: Run) -> list[str]:
    """Those that its job runs on, the one that leads first."""
    listed = fields(cluster, job_of(run))["NodeList"]
    return cluster.run("scontrol", "show", "hostnames", listed).split()


def agents(run: Run) -> list[int]:
    """Process ids, as this machine counts, of the agents at work on a run."""
    return [pid for pid, name in _processes(run).items() if not name.startswith("dnw ")]


def workers(run: Run) -> dict[int, int]:
    """Process ids of its workers, by rank."""
    found = _processes(run).items()
    return {int(name.removeprefix("dnw rank ")): pid for pid, name in found if name.startswith("dnw rank")}


def launchers(run: Run) -> list[int]:
    """Process ids, as this machine counts, of what submitit runs on the nodes of a run's job."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"submitit.core._submit" in words and b"srun" not in words[0]:
                is_its = any(word.startswith(bytes(run.slurm)) for word in words)
                found += [int(path.name)] if is_its and b"start.sh" not in words[1] else []
    return found


def processes_of_workers(run: Run) -> int:
    """How many there are, those of an attempt that was passed over included."""
    return sum(name.startswith("dnw rank") for name in _processes(run).values())


def _processes(run: Run) -> dict[int, str]:
    """Ids and names of the agents, and of what they have forked."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            name = (path / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"launch.node.agent" in words and str(run.folder).encode() in words:
            found[int(path.name)] = name
    return found


# ---- events: each returns what undoes it


def _nothing() -> None:
    pass


def preempted(cluster: Cluster, run: Run) -> Undo:
    submit(cluster, "sleep 0.5", f"--nodes={cluster.settings.nodes}", "--exclusive", "--partition=high")
    return _nothing


def time_out(cluster: Cluster, run: Run) -> None:
    """Let the time limit come near once a run trains: how long its start takes doesn't matter.

    A requeued job keeps such a limit, one that follows has that of its script.
    """
    hours, minutes, _ = fields(cluster, job_of(run))["RunTime"].split(":")
    limit = int(hours) * 60 + int(minutes) + 4
    cluster.run("scontrol", "update", f"JobId={job_of(run)}", f"TimeLimit={limit}")


def requeued_by_an_operator(cluster: Cluster, run: Run) -> Undo:
    cluster.run("scontrol", "requeue", job_of(run))
    return _nothing


def cancelled(cluster: Cluster, run: Run) -> Undo:
    """To be typed again once it is gone."""
    job = job_of(run)
    cluster.run("scancel", job)
    until(lambda: state(cluster, job) == "CANCELLED")
    return _nothing


def time_limit(cluster: Cluster, run: Run) -> Undo:
    """Reached; the next attempt has none."""
    attempt = ledger.read(run)[-1].number
    time_out(cluster, run)
    until(lambda: any(one.end for one in ledger.read(run) if one.number == attempt), timeout_s=150)
    cluster.run("scontrol", "update", f"JobId={job_of(run)}", "TimeLimit=UNLIMITED")
    return _nothing


def powered_off(place: int) -> Callable[[Cluster, Run], Undo]:
    def event(cluster: Cluster, run: Run) -> Undo:
        node = nodes_of(cluster, run)[place]
        cluster.power_off(node)
        return lambda: cluster.start_node(node)

    return event


def cut_off(place: int) -> Callable[[Cluster, Run], Undo]:
    def event(cluster: Cluster, run: Run) -> Undo:
        node = nodes_of(cluster, run)[place]
        cluster.cut(node)

        def back() -> None:
            cluster.restore(node)
            cluster.run("scontrol", "update", f"nodename={node}", "state=resume")

        return back

    return event


def slurmd_killed(cluster: Cluster, run: Run) -> Undo:
    node = nodes_of(cluster, run)[1]
    cluster.kill_slurmd(node)
    return lambda: cluster.start_slurmd(node)


def worker_killed(cluster: Cluster, run: Run, rank: int = 1) -> Undo:
    os.kill(workers(run)[rank], signal.SIGKILL)
    return _nothing


def agent_killed(cluster: Cluster, run: Run) -> Undo:
    os.kill(agents(run)[-1], signal.SIGKILL)
    return _nothing


def names_lead_home(cluster: Cluster, run: Run) -> Undo:
    """From its next attempt on, each node's own name is 127.0.1.1 there, and no node knows another's."""
    for node in cluster.settings.names:
        cluster.name_hosts(node, local_names=True)
    cluster.run("scontrol", "requeue", job_of(run))

    def back() -> None:
        for node in cluster.settings.names:
            cluster.name_hosts(node)

    return back


def controller_away(cluster: Cluster, run: Run) -> Undo:
    """For a minute, in which the job is told to stop."""
    cluster.stop_controller()
    for pid in launchers(run):
        os.kill(pid, signal.SIGTERM)
    time.sleep(60)
    cluster.start_controller()
    return _nothing


def environment_gone(place: int) -> Callable[[Cluster, Run], Undo]:
    """From its next attempt on, from one of the nodes that it then gets: the first ones."""

    def event(cluster: Cluster, run: Run) -> Undo:
        node = cluster.settings.names[place]
        cluster.run("scontrol", "requeue", job_of(run))
        until(lambda: state(cluster, job_of(run)) == "PENDING" and not launchers(run))
        cluster.run("scontrol", "update", f"JobId={job_of(run)}", "ExcNodeList=")  # of an earlier one
        cluster.machines[node].run(f"mount -t tmpfs none {sys.prefix}")
        return lambda: cluster.machines[node].run(f"umount {sys.prefix}")

    return event


# ---- what it cost


@dataclass(frozen=True)
class Cost:
    """What one event cost a run."""

    event: str
    lost: int  # steps that were done again, of those that were done when it came
    seconds: float  # from the event to the next attempt's first step
    cause: str

    def row(self) -> str:
        return f"| {self.event} | {self.lost} | {self.seconds:.1f} | {self.cause} |"


def cost(run: Run, event: str, at: float, reached: int, attempt: int = 1) -> Cost:
    """What an event at the time `at` (unix, seconds), with `reached` steps done, cost that attempt."""
    attempts = {one.number: one for one in ledger.read(run)}
    before = attempts[attempt]
    after = next(one for one in attempts.values() if one.number > attempt and one.step is not None)
    assert after.start is not None
    assert after.step is not None
    assert before.end is not None
    done = max(reached, before.last_step or 0)
    lost = max(0, done - after.start["step"])  # it may have gone on, and saved, since it was looked at
    return Cost(event, lost, after.step["time"] - at, str(before.cause))


def disturb(cluster: Cluster, run: Run, event: str, wait: int, again: Callable[[], object]) -> Cost:
    """Let an event come, `wait` steps after the run has gone on from the last one, and see it go on.

    Args:
        cluster: where the run is.
        run: that works, or is about to.
        event: a name of EVENTS.
        wait: steps.
        again: types the submit command, for a run that was cancelled.
    """
    try:
        until(lambda: is_training(run), timeout_s=180)
        begun = steps(run)
        until(lambda: steps(run) >= begun + wait)
        attempt, reached, at = ledger.read(run)[-1].number, steps(run), time.time()
        undo = EVENTS[event](cluster, run)
        try:
            if event == TYPED_AGAIN:
                again()
            until(lambda: ledger.read(run)[-1].number > attempt and is_training(run), timeout_s=180)
            if event.startswith("link"):  # the attempt that was passed over ends while the next one works
                until(lambda: processes_of_workers(run) <= len(workers(run)), timeout_s=20)
        finally:
            undo()
        if event == TIME_LIMIT:  # until then it worked
            at = next(one.end["time"] for one in ledger.read(run) if one.number == attempt and one.end)
        found = cost(run, event, at, reached, attempt)
        unused = sorted(set(cluster.settings.names) - set(nodes_of(cluster, run)))
        cluster.wait_idle(*unused)  # an event must find some to go on with
    except (AssertionError, IndexError, KeyError) as error:
        error.add_note(f"{event}\n{all_logs(run)}")
        raise
    return found


def is_training(run: Run) -> bool:
    """Whether its newest attempt has done a step, and has not ended."""
    last = ledger.last(run)
    return last is not None and last.step is not None and last.end is None


TYPED_AGAIN = "scancel, typed again"
TIME_LIMIT = "time limit (from the save on)"
EVENTS = {
    "preempted, TERM alone": preempted,
    "scontrol requeue": requeued_by_an_operator,
    TYPED_AGAIN: cancelled,
    TIME_LIMIT: time_limit,
    "power-off of the first node": powered_off(0),
    "power-off of the second node": powered_off(1),
    "link of the first node cut": cut_off(0),
    "link of the second node cut": cut_off(1),
    "slurmd killed": slurmd_killed,
    "worker killed": worker_killed,
    "torchrun's agent killed": agent_killed,
    "names of hosts lead home": names_lead_home,
    "controller away for a minute": controller_away,
    "no environment on the first node": environment_gone(0),
    "no environment on the second node": environment_gone(1),
}


# ---- what came out


def assert_same(run: Run, undisturbed: Run) -> None:
    """Weights, momentum, losses and samples are those of the run that nothing happened to; no overlap."""
    assert_same_weights(run, undisturbed)
    assert losses(run) == losses(undisturbed)
    assert samples_by_step(run) == samples_by_step(undisturbed)
    assert list(scalars(run, "train/loss")) == sorted(losses(undisturbed))
    attempts = ledger.read(run)
    assert [attempt.number for attempt in attempts if attempt.end is None] == []
    assert attempts[-1].reason == "done"


def scalars(run: Run, tag: str) -> Iterator[int]:
    """The steps at which TensorBoard shows a curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0})
    reader.Reload()
    return (event.step for event in reader.Scalars(tag))


def samples_by_step(run: Run) -> Mapping[int, list[str]]:
    """What each micro-batch of each step held."""
    found = jsonl.read(run.digests)
    assert len({line["step"] for line in found}) == len(found)
    return {line["step"]: line["digests"] for line in found}
