"""What checks are made with: runs, measurements and comparisons, one after the other, on nodes of the job."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnw.config import Train
from dnw.preemption import STOPPED
from dnw.runs import frozen_code, ledger
from dnw.runs.folder import Run
from launch.node import torchrun
from launch.node.job import Job
from launch.node.signals import StopRequests
from launch.node.topology import LOOPBACK, Node
from launch.self_test import cases
from launch.self_test.cases import Case, Changes, Size

MEASURING = "dnw.self_test.measure"
COMPARING = "dnw.self_test.compare"
COMPARED_WITHIN_S = 300
Announce = Callable[[Case, int, int], None]


class CaseError(RuntimeError):
    """A case came to no end; the message says what its ledger or its log say."""


class StoppedError(RuntimeError):
    """The self-test itself was asked to stop."""


@dataclass
class Bench:
    """The nodes of this job, seen from the first one."""

    whole: Run  # the self-test
    attempt: int  # at it
    node: Node
    job: Job  # of the whole self-test
    announce: Announce  # to the other nodes
    stop: StopRequests
    base: Train
    size: Size = cases.SMALL
    used: list[str] = field(default_factory=list)  # cases, since it was last emptied
    failed: dict[str, str] = field(default_factory=dict)  # cases that came to no end, and why

    @property
    def nproc(self) -> int:
        """Processes on each node."""
        return self.job.nproc

    @property
    def processes(self) -> int:
        """Processes of the whole job."""
        return self.node.count * self.nproc

    def train(
        self,
        name: str,
        family: str = "static",
        fault: str = "",
        on: tuple[int, int] | None = None,
        **changes: Any,
    ) -> Run:
        """Return a run that was trained to its end, here or before.

        Args:
            name: of the case; settings and faults belong to it.
            family: of networks.
            fault: as dnw/training/faults.py has it.
            on: how many nodes take part, and how many processes on each; None: all.
            changes: of its settings.

        Raises:
            CaseError: it came to no end.
            StoppedError: the self-test was asked to stop.
        """
        nodes, nproc = on or (self.node.count, self.nproc)
        variables = {"DNW_FAULT": fault, "DNW_FAULT_NOTE": str(note(self._new(name)))}
        return self._done(Case(name, self._folder(name), nodes, nproc, family, changes, variables=variables))

    def measure(
        self, what: str, family: str = "static", is_faulty: bool = False, **changes: Any
    ) -> dict[str, Any]:
        """Return what all processes together have measured; raises as `train`."""
        variables = {"DNW_SELF_TEST_FAULT": what} if is_faulty else {}
        name = f"measure-{what}"
        case = Case(
            name,
            self._folder(name),
            self.node.count,
            self.nproc,
            family,
            changes,
            (MEASURING, what),
            variables,
        )
        found: dict[str, Any] = json.loads(self._done(case).result.read_bytes())
        return found

    def share(self, processes: int) -> tuple[int, int] | None:
        """Return on how few nodes, and how many on each, so many processes can be started; None: on none."""
        if processes <= self.nproc:
            return 1, processes
        nodes, left = divmod(processes, self.nproc)
        return None if left or nodes > self.node.count else (nodes, self.nproc)

    def differences(self, one: Run, other: Run) -> list[str]:
        """Return in what two runs differ: names of tensors, "losses", "samples", "evaluations".

        Raises:
            CaseError: they can't be compared.
        """
        with tempfile.TemporaryDirectory(prefix="dnw-") as folder:
            code = frozen_code.unpacked(self.whole.code, Path(folder))
            done = subprocess.run(
                [sys.executable, "-m", COMPARING, str(one.folder), str(other.folder)],
                env=torchrun.environment(os.environ, code, 1, 0, self.job.gpus),
                capture_output=True,
                text=True,
                timeout=COMPARED_WITHIN_S,
                start_new_session=True,
                check=False,
            )
        if done.returncode:
            raise CaseError(f"not compared: {_last_line(done.stderr)}")
        found: list[str] = json.loads(done.stdout)
        return found

    def _folder(self, name: str) -> str:
        return f"{name}.{self.attempt}"

    def _new(self, name: str) -> Run:
        """Return the run of a case that this attempt works on."""
        return cases.run_of(self.whole, self._folder(name))

    def _done(self, case: Case) -> Run:
        """Return the run of a case, worked on until it is done."""
        earlier = cases.done(self.whole, case.name)
        self.used.append(earlier.folder.name if earlier else case.folder)
        if earlier is not None:
            return earlier
        if case.name in self.failed:
            raise CaseError(self.failed[case.name])
        run = self._new(case.name)
        cases.prepare(self.whole, case, cases.settings(self.base, case, self.size, self.processes))
        self._work(case, run)
        if not run.result.exists():
            self.failed[case.name] = _why(run)
            raise CaseError(self.failed[case.name])
        return run

    def _work(self, case: Case, run: Run) -> None:
        """Make attempts at a case, until one ends that isn't tried again."""
        job = job_of(self.whole, case, self.job)
        while True:
            with _spoken_to(run.folder / "launcher.log"):
                code, _ = job.lead(
                    among(self.node, case.nodes),
                    self.stop,
                    lambda attempt, port: self.announce(case, attempt, port),
                )
            is_drill = note(run).exists() and len(ledger.read(run)) == 1
            if is_drill:  # the signal was ours
                self.stop = StopRequests(self.stop.impatient)
                self.stop.listen()
            if self.stop.signal is not None:
                raise StoppedError
            if not (is_drill and code == STOPPED):
                return


@contextlib.contextmanager
def _spoken_to(path: Path) -> Iterator[None]:
    """Have what the launcher says of a case go to a file: what is done to it on purpose alarms nobody."""
    with path.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


def job_of(whole: Run, case: Case, job: Job) -> Job:
    """Return what a node does for a case of a self-test, of which `job` is the whole.

    Args:
        whole: the run of the self-test.
        case: which one.
        job: of the whole.
    """
    return dataclasses.replace(
        job,
        folder=cases.run_of(whole, case.folder).folder,
        nodes=case.nodes,
        nproc=case.nproc,
        worker=case.worker,
        variables={**job.variables, **case.variables},
        port=None,  # the whole, not a case, is what these are typed for
        foreground=False,
        error_retries=0,
        notify=None,
        notices=None,
        after_diverged=0,
    )


def among(node: Node, count: int) -> Node:
    """Return the same node as one of the first `count` ones alone."""
    if count == 1:
        return dataclasses.replace(node, count=1, head=LOOPBACK, hosts=node.hosts[:1])
    return dataclasses.replace(node, count=count, hosts=node.hosts[:count])


def announcement(case: Case, attempt: int, port: int) -> dict[str, Any]:
    """Return what the other nodes need to know of an attempt at a case, as JSON has it.

    Args:
        case: which one.
        attempt: its number.
        port: where its nodes meet.
    """
    return {**dataclasses.asdict(case), "attempt": attempt, "port": port, "changes": {}}


def announced(record: Changes) -> tuple[Case, int, int]:
    """Return the case, the attempt and its port that `announcement` told of."""
    values = dict(record)
    attempt, port = int(values.pop("attempt")), int(values.pop("port"))
    return Case(**{**values, "worker": tuple(values["worker"])}), attempt, port


def note(run: Run) -> Path:
    """Return the file in which a fault that signals the job notes when."""
    return run.folder / "signalled"


def seconds_to_stop(run: Run) -> float | None:
    """Return how long the first attempt took from the signal to its end; None if there was no signal."""
    end = ledger.read(run)[0].end
    if end is None or not note(run).exists():
        return None
    return float(end["time"]) - float(note(run).read_text())


def _why(run: Run) -> str:
    last = ledger.last(run)
    end = (last.end or {}) if last else {}
    told = end.get("detail") or end.get("reason") or "it never began"
    return f"{run.folder.name}: {told}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no word"
