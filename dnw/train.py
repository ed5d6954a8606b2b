"""The worker: one process per GPU, or per share of the CPU, under torchrun.

    torchrun --standalone --nproc-per-node=2 -m dnw.train RUN

RUN is a run folder, as launch/local.py and launch/slurm.py prepare it. Exit codes: 0 the run is done;
75 stopped on request after saving, start it again; anything else is an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from dnw import models, nondeterministic, user_classes
from dnw.config import FROM_A_RUN, ConfigError, Train, load
from dnw.hardware import compiler, determinism, gpu_fault, health, memory, out_of_memory, precision
from dnw.hardware.device import DeviceError
from dnw.hardware.health import UnfitError, node_name
from dnw.identity import signature
from dnw.preemption import STOPPED, StopRequest, die_with_parent, end_children
from dnw.pretrained.loading import init_from_file
from dnw.processes import check_processes
from dnw.profile import profile
from dnw.runs import class_names, divergence, ledger
from dnw.runs.claim import Claim, SupersededError
from dnw.runs.divergence import Divergence
from dnw.runs.folder import Run, step_path
from dnw.runs.goodput import goodput, last_logged
from dnw.runs.lock import Lock
from dnw.splits import only_anew, open_splits, unnamed
from dnw.training import checkpoint
from dnw.training.checkpoint import CheckpointError, Identity, Position
from dnw.training.distributed import World, join, leave
from dnw.training.divergence import DivergedError, diagnose_alone
from dnw.training.finite import check_finite, not_finite_by_design
from dnw.training.init_from_run import init_from_run
from dnw.training.loop import Loop
from dnw.training.machine import warn_of_others, warn_of_unlike
from dnw.training.monitor import Monitor
from dnw.training.monitoring.board import preload as preload  # noqa: PLC0414  (launch/node/agent.py calls it)
from dnw.training.monitoring.pictures import wiring_png
from dnw.training.trainer import Trainer
from dnw.training.watchdog import Watchdog, patience_s
from shards import command, terminal
from shards.errors import BadSampleError, ShardError

log = logging.getLogger(__name__)


EXPECTED = (ConfigError, ShardError, CheckpointError)  # whose message says all there is to say
FIRST_S = 10.0  # that the other ranks give the first one to tell what they refuse alike
# what to do about a checkpoint that isn't finite
WITHOUT_IT = "move it away to go on from what was saved before it, or begin anew with fresh=true"
UNKNOWN = 0  # the number of an attempt


@command.answers()
def main(arguments: list[str] | None = None, stop: StopRequest | None = None) -> int:
    """Work on a run until it is done, or until it has to stop; returns the exit code.

    `stop` is listening already, where it is given.
    """
    parser = command.Parser(prog="python -m dnw.train", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=command.path, help="a run folder")
    run = Run(parser.parse_args(arguments).run.resolve())
    terminal.go_on_without_output()
    die_with_parent()
    if stop is None:
        stop = StopRequest()
        stop.listen()
    try:
        train = load(run.config)
    except ConfigError:
        if _first_tells(stop):
            return 1
        raise
    user_classes.prefer(run.code)
    with _claimed(run) as claim:
        return _Worker(run, train, claim, stop).main()


@contextlib.contextmanager
def _claimed(run: Run) -> Iterator[Claim]:
    """Yield the claim of this attempt: the launcher's, or where there is none, one that the first rank makes.

    Raises:
        HeldError: another attempt works on the run.
        ConfigError: it has diverged.
    """
    if launched := os.environ.get("DNW_ATTEMPT"):
        yield Claim(run, int(launched))
        return
    if os.environ.get("RANK", "0") != "0":
        yield Claim(run, UNKNOWN)  # until the first rank tells
        return
    with Lock.take(run.lock) as lock:
        if diverged := divergence.last(run):
            raise ConfigError(divergence.message(run, diverged))
        claim = Claim.take_over(run)
        facts = {"job": "-", "restart": 0, "host": socket.gethostname(), "pid": os.getpid()}
        lock.write(attempt=claim.number, **facts)
        ledger.claim(run, claim.number, hosts=[socket.gethostname()], **facts)
        yield claim
        claim.release()


class _Worker:
    """One attempt, as this rank sees it."""

    def __init__(self, run: Run, train: Train, claim: Claim, stop: StopRequest) -> None:
        self.run, self.train, self.claim, self.stop = run, train, claim, stop
        self.rank = int(os.environ.get("RANK", "0"))
        self.began_s = time.monotonic()
        self.watchdog = Watchdog(train.watchdog.seconds, self._hung)
        self.trainer: Trainer | None = None

    def main(self) -> int:
        """Train; returns the exit code."""
        try:
            self.watchdog.start()
            configure(self.train)
            pins_sums = self.train.deterministic and self.train.reduce == "fast"
            examine = partial(health.check, train=self.train, checkpoints=self.run.checkpoints)
            world = join(patience_s(self.train.watchdog.seconds), pins_sums, examine)
            if world.device.type == "cpu":
                memory.keep_freed()
            self.claim = Claim(self.run, world.broadcast_int(self.claim.number))
            _log_to(self.run, self.claim.number, world)
            is_done, position = self._work(world)
            leave()
        except SupersededError as error:
            print(error, file=sys.stderr, flush=True)
            return 1
        except DeviceError as error:
            print(error, file=sys.stderr, flush=True)
            if error.rank == self.rank:
                self._end("error", detail=str(error), rank=error.rank)
            return 1
        except UnfitError as error:
            self._unfit(error)
            return 1
        except DivergedError:  # told by the first rank
            return 1
        except Exception as error:
            if self._is_explained(error):
                return 1
            self._failed(error)
            raise
        finally:
            end_children()
        if world.is_first:
            self.watchdog.progress(position.step)
            self._end("done" if is_done else "stopped")
        return 0 if is_done else STOPPED

    def _end(self, reason: ledger.Reason, **facts: Any) -> None:
        """Note in the ledger why this rank ends; a later attempt may have taken the run over meanwhile."""
        if self.claim.number != UNKNOWN and self.claim.holds():
            seconds = round(time.monotonic() - self.began_s, 3)
            step = self.watchdog.step
            facts = {"host": node_name()} | facts
            ledger.end(self.run, self.claim.number, reason, step=step, seconds=seconds, **facts)

    def _is_explained(self, error: Exception) -> bool:
        """Whether there is more to say of an exception than its traceback has; then it was said."""
        if isinstance(error, EXPECTED):
            fault = {"fault": "settings"} if isinstance(error, ConfigError) else {}
            more = f"; {only_anew(self.run.folder)}" if isinstance(error, BadSampleError) else ""
            self._refuse(_own_words(error) + more, by_all=isinstance(error, ConfigError), **fault)
        elif out_of_memory.lacking(error):
            self._refuse(f"rank {self.rank}: {out_of_memory.what_would_fit(error, self.train)}")
        elif message := nondeterministic.remedy(error, self.train):
            self._refuse(message)
        elif found := self._divergence_behind(error):
            self._diverged(found)
        else:
            return False
        return True

    def _divergence_behind(self, error: Exception) -> Divergence | None:
        if self.trainer is None or gpu_fault.fault_of(error) == "device":
            return None
        return diagnose_alone(self.trainer, error)

    def _failed(self, error: Exception) -> None:
        """Note an exception; a fault of the GPU, or of a peer, has killed the attempt: it is no error."""
        detail = f"{type(error).__name__}: {error}"
        fault = gpu_fault.fault_of(error)
        if fault is None:
            self._end("error", detail=detail, rank=self.rank)
            return
        what = "GPU fault" if fault == "device" else "collective operation broken"
        detail = detail.partition("\n")[0]
        where = f"rank {self.rank} on {node_name()}"
        self._end("killed", detail=f"{what}, {where}: {detail}", rank=self.rank, fault=fault)

    def _unfit(self, error: UnfitError) -> None:
        """Note the node that fails, on the rank that found it; what fails on any node is the run's error."""
        if error.rank != self.rank:
            return
        print(error, file=sys.stderr, flush=True)
        if error.node is None:
            self._end("error", detail=str(error), rank=self.rank)
        else:
            self._end("unfit", detail=str(error), rank=self.rank, fault="node")

    def _diverged(self, found: Divergence, monitor: Monitor | None = None) -> None:
        """Note that the run has diverged, and say all there is to say of it, unless another rank has."""
        last = ledger.last(self.run)
        if last is not None and last.number == self.claim.number and last.end is not None:
            return
        self._end("diverged", detail=found.summary, rank=found.rank, diverged=dataclasses.asdict(found))
        if (noted := divergence.last(self.run)) is not None:
            told = divergence.message(self.run, noted)
            print(told, file=sys.stderr, flush=True)
            if monitor is not None:
                monitor.diverged(self.watchdog.step, told)

    def _refuse(self, message: str, by_all: bool = False, **facts: str) -> None:
        """End with an error whose message says all there is to say."""
        if by_all and _first_tells(self.stop):
            return
        print(message, file=sys.stderr, flush=True)
        self._end("error", detail=message, rank=self.rank, **facts)

    def _hung(self, step: int) -> None:
        patience = f"{self.train.watchdog.seconds:g} s"
        self._end("hung", detail=f"no progress for {patience} after step {step}", rank=self.rank)

    def _work(self, world: World) -> tuple[bool, Position]:
        """Whether the run is done, and how far it is."""
        run, train, claim = self.run, self.train, self.claim
        check_processes(train, world.size, f"{world.size} processes")
        names = class_names.read(run)
        splits = open_splits(train.data, names, run.classes)
        if note := unnamed(splits[1], names):
            log.info(note)
        trainer = Trainer(train, models.build(train), world, splits[0].num_samples)
        digests = splits[0].fingerprint, splits[1].fingerprint
        identity = Identity(train.exp, signature(train), *digests, names or splits[1].classes)
        warn_of_unlike(world, trainer.machine)
        precision.warn_of_device(train.precision, world.device)
        trainer.exempt = not_finite_by_design(trainer.model)  # as built: what is saved may have diverged
        _begin(claim, trainer, identity)
        self.trainer = trainer
        trainer.begin()
        self.watchdog.progress(trainer.position.step)
        loop = Loop(claim, trainer, splits, identity, self.stop, self.watchdog)
        if not world.is_first:
            is_done = self._loop(loop, world)
        else:
            _announce(run, trainer, claim.number)
            with Monitor(claim, trainer.position, trainer.steps, train) as monitor:
                is_done = self._loop(loop, world, monitor)
                if is_done:
                    monitor.done()
            if is_done:
                _publish(claim, trainer)
            else:
                log.info("stopped after step %d, saved; start it again to go on", trainer.position.step)
        world.barrier()  # the launcher ends the others as soon as one has gone
        return is_done, trainer.position

    def _loop(self, loop: Loop, world: World, monitor: Monitor | None = None) -> bool:
        """Whether the run is done. Should it diverge, the first rank tells; the others wait for it."""
        try:
            return loop.run(monitor)
        except DivergedError as error:
            if world.is_first:
                self._diverged(error.found, monitor)
            world.barrier()
            raise


def _first_tells(stop: StopRequest) -> bool:
    """Wait for the first rank to tell of a configuration that all ranks refuse alike; return whether it has.

    Its end has this rank ended, too.
    """
    if os.environ.get("RANK", "0") == "0":
        return False
    stop.wait(FIRST_S)
    return stop.received


def _own_words(error: Exception) -> str:
    """Return the message without the traceback that a DataLoader puts before it."""
    return str(error).rpartition(f"{type(error).__name__}: ")[2].strip()


def configure(train: Train) -> None:
    """Set what is set once a process: threads, deterministic kernels. No driver is asked anything here."""
    torch.set_num_threads(train.threads)
    compiler.leave_out()
    determinism.hold_to_one_algorithm(train.deterministic)
    # DDP means the stride of a 1x1 filter's pixels, which has no effect.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    precision.configure(train.precision)


def _log_to(run: Run, attempt: int, world: World) -> None:
    """Plain lines: into the log file where a terminal shows the bar, else to stdout, which is that file."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if sys.stdout.isatty():
        run.logs.mkdir(exist_ok=True)
        handlers[0].setLevel(logging.WARNING)
        handlers.append(logging.FileHandler(run.log(attempt, 0)))
    level = logging.INFO if world.is_first else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", handlers=handlers)


def _begin(claim: Claim, trainer: Trainer, identity: Identity) -> None:
    """Go back to the newest whole checkpoint, or begin, and keep what was begun with as one.

    The first rank chooses it: another may see an older state of a shared folder. One that isn't finite is
    refused and not passed over, unlike a damaged one: the steps after the one before would lead there again.
    """
    is_first, run = trainer.world.is_first, claim.run
    saved = checkpoint.newest(run.checkpoints, identity) if is_first else None
    if saved is not None:
        check_finite(step_path(run.checkpoints, saved.position.step), saved, trainer.exempt, WITHOUT_IT)
    step = trainer.world.broadcast_int(saved.position.step if saved else -1)
    if step < 0:
        if trainer.train.wiring.name in FROM_A_RUN:
            init_from_run(trainer.train, trainer.model)
            trainer.take_weights()
        elif trainer.train.init:
            log.info(init_from_file(trainer.train, trainer.model))
            trainer.take_weights()
        snapshot = trainer.snapshot(identity)
        if is_first:
            checkpoint.write(run.checkpoints / "init.pt", checkpoint.encode(snapshot), claim.replacing)
        return
    if saved is None:
        saved = checkpoint.read(step_path(run.checkpoints, step))
        checkpoint.check_identity(run.checkpoints, saved.identity, identity)
    trainer.restore(saved)
    if is_first:
        warn_of_others(saved.machine, trainer.machine, step)


def _announce(run: Run, trainer: Trainer, attempt: int) -> None:
    world, position = trainer.world, trainer.position
    facts = {"nodes": world.nodes, "world": world.size, "device": str(world.device), "pid": os.getpid()}
    ledger.start(run, attempt, step=position.step, found=last_logged(run), **facts)
    came_from = f"goes on after step {position.step}" if position.step else "begins"
    log.info(
        "%s %s: attempt %d, %d processes on %d nodes, %d steps in all",
        *(run.name, came_from, attempt, world.size, world.nodes, trainer.steps),
    )
    kind = "gpu" if world.device.type == "cuda" else "cpu"
    log.info("computing on %s (%s)", world.device, trainer.machine[kind])


def _publish(claim: Claim, trainer: Trainer) -> None:
    """Write what came out: the picture of the wiring, then the result."""
    position, model = trainer.position, trainer.show_for_evaluation()
    with claim.replacing(claim.run.wiring) as file:
        file.write(wiring_png(model))
    costs = profile(model, trainer.train.data.test_size)
    result: dict[str, Any] = {
        "exp": trainer.train.exp,
        "signature": signature(trainer.train),
        "width": trainer.train.width,
        "wiring": trainer.train.wiring.name,
        "steps": position.step,
        "top1": position.top1,
        "top5": position.top5,
        "loss": position.loss,
        "best_top1": position.best_top1,
        **({} if position.ema_top1 is None else {"ema_top1": position.ema_top1}),
        "params": costs.params,
        "macs": costs.macs,
        "attempts": claim.number,
        "goodput": dataclasses.asdict(goodput(claim.run, now=time.time())),
    }
    if changes := ledger.code_changes(claim.run):  # bits may differ from there on
        result["code_changes"] = changes
    with claim.replacing(claim.run.result) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())
    log.info("done: top-1 %.2f %%, %d parameters, %d multiply-adds", position.top1, costs.params, costs.macs)


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)  # beside threads of gloo's, taking the interpreter down may abort: all is written by now
