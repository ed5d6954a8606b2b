"""What runs on each node in place of a training: the series of small runs that make up a self-test.

The first node leads. It takes the lock of the self-test's run folder, writes the images, makes the checks one
after the other, and records each. A case is a run folder of its own, worked on by the same Job as any run.
The other nodes read in the lock which attempt at which case is on, and take part in those that include them.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dnw import config
from dnw.preemption import STOPPED
from dnw.runs import ledger, lock
from dnw.runs.claim import Claim, SupersededError
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError, Lock
from launch.errors import LaunchError
from launch.node import backfill, exit_reason, notify, requeue, slurm_job
from launch.node.job import HELD, Job
from launch.node.signals import StopRequests
from launch.node.timeouts import POLL_S, first_node_s, look_s
from launch.node.topology import Node, this_node
from launch.node.waiting import met_at, until_turn_s
from launch.self_test import bench as benches
from launch.self_test import cases, findings, report
from launch.self_test.bench import Bench, CaseError, StoppedError
from launch.self_test.cases import LARGE, SMALL, Case
from launch.self_test.checks import CHECKS, Check, machine
from launch.self_test.findings import Finding, Record


@dataclass(frozen=True)
class Series:
    """Work on a self-test on one node; `Series(...)()` is what submitit calls."""

    job: Job  # as for a training in this folder
    only: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def nproc(self) -> int:
        """Processes on this node."""
        return self.job.nproc

    def command(self, node: Node, attempt: int, port: int) -> list[str]:
        """Return the agent's command line, of a case that trains.

        Args:
            node: this one.
            attempt: its number.
            port: where its nodes meet.
        """
        return self.job.command(node, attempt, port)

    def __call__(self) -> None:
        """Make the checks until all are made, or it has to stop; raises SystemExit, as Job does."""
        try:
            sys.exit(self.run())
        except LaunchError as error:
            sys.exit(str(error))

    def run(self, begun: Callable[[], None] | None = None) -> int:
        """Make the checks that are not recorded yet: 0 none failed, 1 some did, 75 stopped, 73 held.

        `begun` is called when the first node has the lock.
        """
        stop = StopRequests(impatient=self.job.foreground)
        stop.listen()
        node, run = this_node(self.job.nodes, self.job.interface), Run(self.job.folder)
        if node.rank > 0:
            self._follow(run, node, stop)
            return 0
        try:
            with Lock.take(run.lock, holder_state=partial(slurm_job.holder_state, node)) as held:
                if begun is not None:
                    begun()
                code, bench = self._lead(run, node, held, stop)
        except HeldError as error:
            print(error, file=sys.stderr, flush=True)
            return HELD
        except SupersededError as error:
            print(error, file=sys.stderr, flush=True)
            return exit_reason.DONE if node.in_slurm else HELD
        self._tell(run, code)
        if node.in_slurm and bench.stop.signal and self.job.is_requeued:
            requeue.after_stop(run, node, bench.stop.signal)
        return code

    # ---- the first node

    def _lead(self, run: Run, node: Node, held: Lock, stop: StopRequests) -> tuple[int, Bench]:
        claim = Claim.take_over(run)
        backfill.complete(run, node)
        facts = {"job": node.job, "restart": node.restart, "host": socket.gethostname(), "pid": os.getpid()}
        ledger.claim(run, claim.number, hosts=list(node.hosts), **facts)
        told = {"attempt": claim.number, "address": node.head, "slurm": node.in_slurm, **facts}
        announcements = iter(range(1, sys.maxsize))

        def announce(case: Case, attempt: int, port: int) -> None:
            said = benches.announcement(case, attempt, port)
            held.write(**told, case={"number": next(announcements), **said})

        held.write(**told)
        base = config.load(run.config)
        bench = Bench(run, claim.number, node, self.job, announce, stop, base)
        log = _Log(run, claim.number)
        self._forget(run)
        began_at = self._made(run)
        try:
            prepare(bench, log)
            ledger.start(run, claim.number, step=began_at, **_world(bench))
            ledger.first_step(run, claim.number, began_at)
            for check in self._left(run):
                _make(check, bench, check.name in self.faults, log)
                claim.check()
        except StoppedError:
            return self._stopped(run, claim, bench, log), bench
        except CaseError as error:
            ledger.end(run, claim.number, "error", by="launcher", detail=str(error), step=self._made(run))
            claim.release()
            log.say(f"self-test broken off: {error}")
            return exit_reason.FAILED, bench
        return self._conclude(run, claim, bench), bench

    def _left(self, run: Run) -> list[Check]:
        """Return the checks that are to be made and are not recorded."""
        made = {record.check for record in findings.read(run, [check.name for check in CHECKS])}
        return [check for check in self._asked() if check.name not in made]

    def _asked(self) -> list[Check]:
        return [check for check in CHECKS if not self.only or check.name in self.only]

    def _made(self, run: Run) -> int:
        return len(self._asked()) - len(self._left(run))

    def _forget(self, run: Run) -> None:
        """Have what failed in an earlier attempt made again, with other runs; these may be other nodes."""
        if (told := cases.done(run, "measure-machine")) is not None:
            told.result.unlink()
        for record in findings.read(run, [check.name for check in CHECKS]):
            if record.state == "failed":
                findings.remove(run, record)
                for name in record.cases:
                    cases.run_of(run, name).result.unlink(missing_ok=True)

    def _stopped(self, run: Run, claim: Claim, bench: Bench, log: _Log) -> int:
        made = self._made(run)
        cause = exit_reason.why_asked(bench.node, bench.stop.signal)
        facts: dict[str, Any] = {"cause": cause} if cause else {}
        ledger.end(run, claim.number, "stopped", by="launcher", step=made, saved=made, **facts)
        claim.release()
        log.say(f"stopped on request, {made} of {len(self._asked())} checks made; the same command goes on")
        return STOPPED

    def _conclude(self, run: Run, claim: Claim, bench: Bench) -> int:
        records = findings.read(run, [check.name for check in self._asked()])
        report.write(run, bench.node.hosts, self.job.nproc)
        failed = [record.check for record in records if record.state == "failed"]
        if failed:
            detail = f"{len(failed)} of {len(records)} checks failed: {', '.join(failed)}"
            ledger.end(run, claim.number, "error", by="launcher", step=len(records), detail=detail)
        else:
            report.conclude(run, claim, records)
            ledger.end(run, claim.number, "done", by="launcher", step=len(records))
        claim.release()
        report.show(run)
        return exit_reason.FAILED if failed else exit_reason.DONE

    def _tell(self, run: Run, code: int) -> None:
        """Tell the user, if asked for, how it ended."""
        last = ledger.last(run)
        event = notify.event(last, code, code == STOPPED) if last else None
        if last is not None and event is not None:
            log = None if self.job.foreground else run.log(last.number, 0)
            notify.tell(run, last, event, log, self.job.notify, self.job.notices)

    # ---- the other nodes

    def _follow(self, run: Run, node: Node, stop: StopRequests) -> None:
        """Take part in each attempt that the first node announces.

        Raises:
            RuntimeError: it has announced none for long, and has not ended.
        """
        last, heard_at, pause_s = 0, time.monotonic(), look_s(node.count, POLL_S)
        patience_s = first_node_s(self.job.grace_s, config.load(run.config).watchdog.seconds)
        stop.pause(until_turn_s(node, pause_s))
        while not stop.signal:
            record = lock.read(run.lock)
            if (record.get("job"), record.get("restart")) != (node.job, node.restart):
                if last or run.result.exists():  # it was ours, and has been let go
                    return
            elif (said := record.get("case")) and said["number"] > last:
                last = int(said["number"])
                self._take_part(
                    met_at(node, record), stop, {key: said[key] for key in said if key != "number"}
                )
                heard_at = time.monotonic()
            if time.monotonic() - heard_at > patience_s:
                raise RuntimeError(f"{run.lock}: the first node of job {node.job} is silent; see its log")
            stop.pause(pause_s)

    def _take_part(self, node: Node, stop: StopRequests, said: dict[str, Any]) -> None:
        case, attempt, port = benches.announced(said)
        if node.rank < case.nodes:
            job = benches.job_of(Run(self.job.folder), case, self.job)
            job.take_part(benches.among(node, case.nodes), stop, attempt, port)


@dataclass(frozen=True)
class _Log:
    """What the first node says: into its log, and to where this program prints."""

    run: Run
    attempt: int

    def say(self, text: str) -> None:
        """Say one line."""
        print(text, flush=True)
        self.run.logs.mkdir(exist_ok=True)
        with self.run.log(self.attempt, 0).open("a") as file:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')},000  {text}", file=file)


def prepare(bench: Bench, log: _Log) -> None:
    """Write the images, once what the processes compute with says how large they shall be.

    Raises:
        CaseError, StoppedError: as Bench.measure.
    """
    on_gpus = all(rank["device"] == "cuda" for rank in machine(bench))
    bench.size = LARGE if on_gpus else SMALL
    _write_images(bench)
    device = "a GPU each" if on_gpus else "the CPU: no GPU here"
    log.say(f"self-test on {bench.node.count} nodes, {bench.processes} processes, on {device}")


def _write_images(bench: Bench) -> None:
    from shards.sources.generated import generated  # noqa: PLC0415  (numpy and Pillow, and --help needs none)
    from shards.write import write  # noqa: PLC0415

    folder = bench.whole.folder / "images"
    source = generated(*bench.size.photo, cases.samples(bench.size, bench.processes))
    with contextlib.redirect_stdout(io.StringIO()):  # how many were there already
        written = write(source, folder, shard_samples=256, seed=0, workers=0)
    train, val = (index.fingerprint for index in written)
    bench.base = cases.with_images(bench.base, folder, (train, val))


def _make(check: Check, bench: Bench, is_faulty: bool, log: _Log) -> None:
    """Make a check and record what it found; whatever goes wrong in it, the next ones follow.

    Raises:
        StoppedError: the self-test was asked to stop.
    """
    began_s = time.monotonic()
    bench.used.clear()
    try:
        found = check.make(bench, is_faulty)
    except CaseError as error:
        found = Finding("failed", str(error))
    seconds = round(time.monotonic() - began_s, 1)
    record = Record(
        check.name, check.shows, found.state, found.figure, found.tolerance, seconds, tuple(bench.used)
    )
    findings.write(bench.whole, record)
    log.say(f"{found.state:8}  {check.shows}: {found.figure}  ({seconds:.1f} s)")


def _world(bench: Bench) -> dict[str, Any]:
    device = machine(bench)[0]["device"]
    return {"world": bench.processes, "nodes": bench.node.count, "device": device, "pid": os.getpid()}
