"""What runs on a node: torchrun's agent, watched from its start to a record of why it ended.

Submitted, submitit calls a `Job` on each node; in the foreground launch/local.py does. It takes the run's
lock, starts the agent with the frozen code, passes on a request to stop, and has the last word.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from dnw import config, ledger
from dnw.preemption import STOPPED
from dnw.run import Run
from launch import lock, requeue, torchrun, verdict
from launch.lock import HeldError, Lock
from launch.node import Node, this_node

HELD = 73  # sysexits.h: EX_CANTCREAT; another attempt works on the run
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)
MARGIN_S = 30  # what an agent gets beyond its workers' grace before it is taken for hung
HEAD_WAIT_S = 300  # what other nodes give the first one to begin


@dataclass(frozen=True)
class Job:
    """One attempt at a run on one node; `Job(...)()` is what submitit calls."""

    folder: Path
    nodes: int
    nproc: int
    grace_s: int
    port: int | None = None
    foreground: bool = False

    def __call__(self) -> None:
        """Work on the run until it is done or has to stop.

        Raises:
            SystemExit: always, with the exit code that `run` returns. Of a returned number submitit would
                make 0, and Slurm a completed job of that.
        """
        sys.exit(self.run())

    def run(self) -> int:
        """Work on the run, and say how that ended: 0, 75, 73 or 1."""
        stop = Stop(impatient=self.foreground)
        stop.listen()
        node, run = this_node(self.nodes), Run(self.folder)
        if node.rank > 0:
            code = self._watched(run, node, _attempt_of_head(run, node), stop)
            return 0 if code in {0, STOPPED} else 1  # how the job ended, the first node says
        try:
            held = Lock.take(run.lock)
        except HeldError as error:
            print(error, file=sys.stderr)
            return HELD
        with held:
            code = self._attempt(run, node, held, stop)
        stopped = ledger.last(run)
        if node.in_slurm and code == STOPPED and stopped and stop.signal:
            requeue.go_on(stopped, stop.signal)
        return code

    def _attempt(self, run: Run, node: Node, held: Lock, stop: Stop) -> int:
        """One attempt on the first node; the job's exit code."""
        if run.result.exists():
            return verdict.DONE
        attempt = ledger.next_attempt(run)
        held.write(
            attempt=attempt, job=node.job, restart=node.restart, pid=os.getpid(), host=socket.gethostname()
        )
        code = self._watched(run, node, attempt, stop, descriptors=(held.descriptor,))
        log = None if self.foreground else run.log(attempt, node.rank)
        return verdict.conclude(run, attempt, code, stop.signal, log)

    def _watched(
        self, run: Run, node: Node, attempt: int, stop: Stop, descriptors: tuple[int, ...] = ()
    ) -> int:
        """Start the agent and wait for its end; its exit code."""
        with self._output(run, attempt, node) as output:
            stop.agent = subprocess.Popen(
                self.command(node, attempt),
                env=self._environment(run, attempt),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,  # the terminal's Ctrl-C comes here alone
            )
        return stop.wait(self.grace_s + MARGIN_S)

    def command(self, node: Node, attempt: int) -> list[str]:
        """The agent's command line."""
        signature = self.folder.name.rsplit("-", 1)[-1]
        meeting = f"{signature}-{node.job}-{attempt}"
        return torchrun.command(self.folder, node, self.nproc, self.port, meeting, self.grace_s)

    def _environment(self, run: Run, attempt: int) -> dict[str, str]:
        threads = config.load(run.config).threads
        environment = torchrun.environment(os.environ, run.code, threads, attempt)
        environment["DNW_JOB_PID"] = str(os.getpid())
        return torchrun.on_one_node(environment) if self.nodes == 1 else environment

    @contextlib.contextmanager
    def _output(self, run: Run, attempt: int, node: Node) -> Iterator[IO[bytes] | None]:
        """Where agent and workers print to: None is the terminal."""
        if self.foreground:
            yield None
            return
        run.logs.mkdir(exist_ok=True)
        path = run.log(attempt, node.rank)
        print(f"{run.name}: attempt {attempt}, workers print to {path}", flush=True)
        with path.open("ab") as output:
            yield output


class Stop:
    """Signals that ask this process to stop, passed on to the agent."""

    def __init__(self, impatient: bool) -> None:
        """`impatient`: a second SIGINT, from someone at the terminal, kills."""
        self.impatient = impatient
        self.signal: signal.Signals | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self._asked_at = 0.0

    def listen(self) -> None:
        """Receive signals from now on, for as long as this process lives.

        submitit's own handlers would checkpoint a pickle, and requeue a job that has just been dealt with.
        """
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def wait(self, patience_s: float) -> int:
        """The agent's exit code; it is killed if it lives on for `patience_s` after it was asked to stop.

        With it die its workers: the kernel sees to that.
        """
        agent = self.agent
        assert agent is not None
        if self.signal is not None:  # it came while the agent was being started
            agent.terminate()
        while True:
            try:
                return agent.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                if self.signal is not None and time.monotonic() - self._asked_at > patience_s:
                    agent.kill()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        again = self.signal is not None
        if not again:
            self.signal, self._asked_at = signal.Signals(number), time.monotonic()
        if self.agent is None:
            return
        if self.impatient and number == signal.SIGINT and again:
            self.agent.kill()
        elif not again:
            self.agent.terminate()


def _attempt_of_head(run: Run, node: Node) -> int:
    """The attempt that the first node has begun for this start of the job.

    Raises:
        RuntimeError: it has begun none within HEAD_WAIT_S.
    """
    deadline = time.monotonic() + HEAD_WAIT_S
    while time.monotonic() < deadline:
        record = lock.read(run.lock)
        if (record.get("job"), record.get("restart")) == (node.job, node.restart):
            return int(record["attempt"])
        time.sleep(0.2)
    raise RuntimeError(f"{run.lock}: the first node of job {node.job} has begun no attempt; see its log")
