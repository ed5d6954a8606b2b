"""What runs on a node: attempts at a run, from the claim of each to a record of why it ended.

Submitted, submitit calls a `Job` on each node; in the foreground launch/local.py does. The first node takes
the run's lock and leads: it numbers each attempt, has all nodes start torchrun's agent, passes on a request
to stop, has the last word on why the attempt ended, and begins the next one where that was the fault of a
process or a node. The other nodes follow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from dnw import config
from dnw.preemption import STOPPED
from dnw.runs import divergence, frozen_code, ledger
from dnw.runs.claim import Claim, SupersededError
from dnw.runs.folder import Run, signature_in
from dnw.runs.ledger import Attempt
from dnw.runs.lock import HeldError, Lock
from launch.config import CPU_PROCESSES
from launch.errors import LaunchError, NodeError
from launch.gpus import given_gpus
from launch.node import (
    backfill,
    container,
    exit_reason,
    meeting,
    memory_events,
    requeue,
    retry_policy,
    scratch,
    slurm_job,
    timeouts,
    torchrun,
    unfit,
    waiting,
)
from launch.node import notify as notification
from launch.node.container import PYTHON, Container
from launch.node.interface import address_of_first, interface_to
from launch.node.notices.channels import Channels
from launch.node.peer_failure import NO_FAILURE
from launch.node.signals import StopRequests
from launch.node.topology import Node, this_node
from launch.node.tracking import Followers

HELD = 73  # sysexits.h: EX_CANTCREAT; another attempt works on the run


@dataclass(frozen=True)
class Job:
    """Work on a run on one node; `Job(...)()` is what submitit calls."""

    folder: Path
    nodes: int
    nproc: int  # on each node; 0: one for each GPU that Slurm has given it
    grace_s: int
    port: int | None = None
    foreground: bool = False
    error_retries: int = 0
    notify: str | None = None  # a command
    notices: Channels | None = None  # ways to be told beside it
    gpus: int | None = None  # of each node; None: nobody said
    is_requeued: bool = True  # where it has to stop, by itself
    runs: int = 1  # that share its node and its GPUs
    after_diverged: int = 0  # the attempt that diverged and may be followed by another; 0: none may
    interface: str | None = None  # on which nodes meet; None: what leads to the first one
    container: Container | None = None  # of agent and workers; None: they run where this does
    python: str | None = None  # of agent and workers; None: this one, or the container's
    worker: tuple[str, ...] = torchrun.TRAINING  # the module that workers run, and their further arguments
    variables: Mapping[str, str] = field(default_factory=dict)  # of the environment, for agent and workers

    def __call__(self) -> None:
        """Work on the run until it is done or has to stop.

        Raises:
            SystemExit: always, with the exit code that `run` returns, or what is wrong with this node. Of a
                returned number submitit would make 0, and Slurm a completed job of that.
        """
        try:
            sys.exit(self.run())
        except LaunchError as error:
            sys.exit(str(error))

    def run(self, begun: Callable[[], None] | None = None) -> int:
        """Work on the run, and say how that ended: 0, 75, 73, 76 or 1.

        `begun` is called when the first node has the run's lock, from which on others see that it is at work.
        """
        if self.nproc == 0:
            return dataclasses.replace(self, nproc=given_gpus() or CPU_PROCESSES).run(begun)
        stop = StopRequests(impatient=self.foreground)
        stop.listen()
        node, run = this_node(self.nodes), Run(self.folder)
        self._tell_idle(node)
        if not run.code.exists():  # an installed package of the same name would be run in its place
            print(
                f"{run.code}: gone; type the submit command again, it says what can be done", file=sys.stderr
            )
            return exit_reason.FAILED
        if node.rank > 0:
            return self._follow(run, node, stop)
        with Followers(run, self.variables) as followers:

            def is_held() -> None:
                followers.start()
                if begun is not None:
                    begun()

            return self._led(run, node, stop, is_held)

    def _led(self, run: Run, node: Node, stop: StopRequests, begun: Callable[[], None]) -> int:
        """Work on the run on the first node, and have what became of it told; the exit code."""
        try:
            code, event = self.lead(node, stop, begun=begun)
        except HeldError as error:
            print(error, file=sys.stderr, flush=True)
            return HELD
        except SupersededError as error:
            print(error, file=sys.stderr, flush=True)
            # In Slurm an error would have srun end the step of this number, which is the successor's now.
            return exit_reason.DONE if node.in_slurm else HELD
        if event is not None:
            self._tell(run, node, event)
        if node.in_slurm and stop.signal and self.is_requeued:
            requeue.after_stop(run, node, stop.signal)
        return code

    def _tell_idle(self, node: Node) -> None:
        """Warn of GPUs that Slurm has given to this node, and no process takes."""
        given = given_gpus() if node.in_slurm and self.gpus != 0 else None
        if given and given > self.nproc:
            idle = f"{given - self.nproc} of {given} GPUs of {node.hosts[node.rank]} stay idle"
            print(f"{idle}: nproc={self.nproc}; leave nproc out", file=sys.stderr, flush=True)

    def lead(
        self,
        node: Node,
        stop: StopRequests,
        announce: Callable[[int, int], None] | None = None,
        begun: Callable[[], None] | None = None,
    ) -> tuple[int, notification.Event | None]:
        """Take the run's lock on the first node, and work on the run.

        Args:
            node: the first one of those that take part.
            stop: being asked to stop.
            announce: called with each attempt's number and port before its agent starts; by default the
                other nodes read both from the lock.
            begun: called when the lock is taken.

        Returns:
            the job's exit code, and what there is to tell of it.

        Raises:
            HeldError: another attempt works on the run.
            SupersededError: a later attempt has taken it over.
        """
        run = Run(self.folder)
        with Lock.take(run.lock, holder_state=partial(slurm_job.holder_state, node)) as held:
            if begun is not None:
                begun()
            return self._lead(run, node, held, stop, announce)

    def _lead(
        self,
        run: Run,
        node: Node,
        held: Lock,
        stop: StopRequests,
        announce: Callable[[int, int], None] | None,
    ) -> tuple[int, notification.Event | None]:
        """Attempt after attempt on the first node; the job's exit code, and what there is to tell of it."""
        if run.result.exists():
            return exit_reason.DONE, None
        diverged = divergence.last(run)
        if diverged is not None and diverged.number != self.after_diverged:  # Slurm has requeued the job, say
            print(divergence.message(run, diverged), file=sys.stderr, flush=True)
            return divergence.DIVERGED, None
        unfit.enter_into_ledger(run)
        claim = Claim.take_over(run)
        backfill.complete(run, node)
        while True:
            code = self._attempt(claim, node, held, stop, announce)
            attempts, is_asked = ledger.read(run), stop.signal is not None
            if code != exit_reason.FAILED or is_asked or not self._is_tried_again(run, attempts, node):
                claim.release()
                return code, notification.event(attempts[-1], code, is_asked)
            bad = sorted(set(retry_policy.nodes_to_exclude(attempts)) & set(node.hosts))
            if bad and node.in_slurm and self.is_requeued and requeue.elsewhere(run, node, bad):
                claim.release()
                return code, None
            claim = claim.next()

    def _is_tried_again(self, run: Run, attempts: Sequence[Attempt], node: Node) -> bool:
        """Whether another attempt follows the one that failed, here or on other nodes."""
        decision = retry_policy.decide(attempts, self.error_retries, has_others=node.in_slurm)
        print(f"{run.name}: {decision.why}", file=sys.stderr, flush=True)
        return decision.again

    def _tell(self, run: Run, node: Node, event: notification.Event) -> None:
        """Tell the user, if asked for."""
        last = ledger.last(run)
        if last is not None:
            log = None if self.foreground else run.log(last.number, node.rank)
            notification.tell(run, last, event, log, self.notify, self.notices)

    def _attempt(
        self,
        claim: Claim,
        node: Node,
        held: Lock,
        stop: StopRequests,
        announce: Callable[[int, int], None] | None,
    ) -> int:
        """One attempt, led from here: 0 done, 75 stopped, 76 diverged, 1 failed."""
        run = claim.run
        facts = {"job": node.job, "restart": node.restart, "host": socket.gethostname(), "pid": os.getpid()}
        shared = {"runs": self.runs} if self.runs > 1 else {}
        ledger.claim(run, claim.number, hosts=list(node.hosts), **facts, **shared)
        try:
            node, port = self._met(node), self._port(node)
        except LaunchError as error:  # no such interface, no free port: nobody else has begun
            print(error, file=sys.stderr, flush=True)
            claim.report(node.rank, has_failed=True, code=meeting.LACKING, detail=str(error))
            reports = waiting.reported(claim)
        else:
            held.write(attempt=claim.number, address=node.head, port=port, slurm=node.in_slurm, **facts)
            if announce is not None:
                announce(claim.number, port)
            code = self._worked(claim, node, port, stop, descriptors=(held.descriptor,))
            is_over = code in {exit_reason.DONE, STOPPED}
            reports = waiting.reported(claim) if is_over else self._reports(claim, stop)
        claim.check()
        log = None if self.foreground else run.log(claim.number, node.rank)
        return exit_reason.conclude(exit_reason.Ended(run, claim.number, node, reports, stop.signal, log))

    def _follow(self, run: Run, node: Node, stop: StopRequests) -> int:
        """Take part in each attempt that the first node begins; the other nodes do this.

        Returns:
            0: how the job ended, the first node says; 1 if it says nothing.
        """
        last, patience_s = 0, timeouts.first_node_s(self.grace_s, config.load(run.config).watchdog.seconds)
        while True:
            try:
                record = waiting.next_attempt(run, node, last, stop, patience_s)
            except TimeoutError as error:
                print(error, file=sys.stderr, flush=True)
                return exit_reason.FAILED
            if record is None:
                return exit_reason.DONE
            last = int(record["attempt"])
            self.take_part(waiting.met_at(node, record), stop, last, int(record["port"]))

    def take_part(self, node: Node, stop: StopRequests, attempt: int, port: int) -> None:
        """Work on an attempt that the first node has begun, and report to it how that ended here.

        Args:
            node: this one.
            stop: what was asked of the job so far.
            attempt: its number.
            port: where its nodes meet.
        """
        claim = Claim(Run(self.folder), attempt)
        with contextlib.suppress(SupersededError):  # the first node has gone on
            self._worked(claim, node, port, stop)

    def _worked(
        self, claim: Claim, node: Node, port: int, stop: StopRequests, descriptors: tuple[int, ...] = ()
    ) -> int:
        """Have the agent work, and leave word of its end, and of why this node is unfit; its exit code."""
        killed_before = memory_events.oom_kills()
        facts: dict[str, Any] = {}
        try:
            code = self._watched(claim, node, port, stop, descriptors)
        except (LaunchError, OSError) as error:  # no such interface, no room for temporary files
            print(error, file=sys.stderr, flush=True)
            is_damaged = isinstance(error, frozen_code.DamagedError)
            code, facts = meeting.DAMAGED if is_damaged else meeting.LACKING, {"detail": str(error)}
            facts |= {"fault": "node"} if isinstance(error, NodeError) else {}
        else:
            if code in meeting.UNFIT and not self.foreground:
                facts = {"detail": (exit_reason.tail(claim.run.log(claim.number, node.rank)) or [""])[-1]}
        killed = memory_events.oom_kills() - killed_before
        if killed > 0:
            facts |= {"oom_kills": killed, "memory_mb": memory_events.memory_mb()}
        claim.report(node.rank, has_failed=code not in NO_FAILURE, code=code, **facts)
        return code

    def _watched(
        self, claim: Claim, node: Node, port: int, stop: StopRequests, descriptors: tuple[int, ...] = ()
    ) -> int:
        """Start the agent and wait for its end; its exit code."""
        scratch.allow_open_files(node.count * self.nproc)
        with self._output(claim, node) as output, scratch.folder(claim.run.code) as (folder, code):
            agent = container.start(
                self.container,
                self.command(node, claim.number, port),
                # torchrun leaves a folder in TMPDIR
                environment={**self._environment(claim, node, code), "TMPDIR": str(folder)},
                code=code,
                folders=(
                    claim.run.folder.parents[1],
                    *container.outside_paths(config.load(claim.run.config)),
                ),
                output=output,
                descriptors=descriptors,
            )
            patience_s = self.grace_s + timeouts.MARGIN_S
            look = partial(waiting.look, claim, node)
            ended = stop.watch(agent, patience_s, look, *waiting.pauses_s(node))
            return ended if agent.has_begun or stop.signal else meeting.LACKING

    def command(self, node: Node, attempt: int, port: int) -> list[str]:
        """Return the agent's command line.

        Args:
            node: this one.
            attempt: its number.
            port: where its nodes meet; 0 takes any free one (single node).
        """
        meeting = f"{signature_in(self.folder.name)}-{node.job}-{attempt}"
        python = self.python or (PYTHON if self.container else sys.executable)
        arguments = (self.folder, node, self.nproc, port, meeting, self.grace_s)
        return torchrun.command(*arguments, self.worker, python)

    def _met(self, node: Node) -> Node:
        """Return the first node with its address on the interface that was typed, for the others."""
        if self.interface is None or node.count == 1:
            return node
        return dataclasses.replace(node, head=address_of_first(node.hosts, self.interface))

    def _port(self, node: Node) -> int:
        """Where the nodes meet: at the port that was typed, unless it is taken; on a single one at any."""
        if self.port is not None:
            why = torchrun.why_not("", self.port)
            if why is None:
                return self.port
            taken = f"port: {self.port} can't be used on {node.hosts[0]} ({why})"
            print(f"{taken}; this attempt goes on with another", file=sys.stderr, flush=True)
        return 0 if node.count == 1 else torchrun.free_port(node)

    def _environment(self, claim: Claim, node: Node, code: Path) -> dict[str, str]:
        threads = config.load(claim.run.config).threads
        environment = torchrun.environment(os.environ, code, threads, claim.number, self.gpus)
        environment["DNW_JOB_PID"] = str(os.getpid())
        environment["DNW_NODE"] = node.hosts[node.rank]
        environment["DNW_GRACE_S"] = str(self.grace_s)
        environment["DNW_TMPDIR"] = tempfile.gettempdir()  # for what is to outlive the attempt
        environment |= self.variables
        if node.count == 1:
            return torchrun.on_one_node(environment)
        found = interface_to(node.head, node.hosts, self.interface)
        return torchrun.on_several_nodes(environment, found, is_typed=self.interface is not None)

    @contextlib.contextmanager
    def _output(self, claim: Claim, node: Node) -> Iterator[IO[bytes] | None]:
        """Where agent and workers print to: None is the terminal."""
        if self.foreground:
            yield None
            return
        run = claim.run
        run.logs.mkdir(exist_ok=True)
        path = run.log(claim.number, node.rank)
        print(f"{run.name}: attempt {claim.number}, workers print to {path}", flush=True)
        with path.open("ab") as output:
            yield output

    def _reports(self, claim: Claim, stop: StopRequests) -> dict[int, dict[str, Any]]:
        """How a failed attempt ended on each node; those that are lost stay silent."""
        found: dict[int, dict[str, Any]] = {}
        deadline = time.monotonic() + timeouts.REPORT_WAIT_S
        while len(found := waiting.reported(claim, found)) < self.nodes and claim.holds():
            if stop.signal or time.monotonic() > deadline:
                break
            stop.pause(timeouts.LOOK_S)
        return found
