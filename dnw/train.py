"""The worker: one process per GPU, or per share of the CPU, under torchrun.

    torchrun --standalone --nproc-per-node=2 -m dnw.train RUN

RUN is a run folder, as launch/local.py and launch/slurm.py prepare it. Exit codes: 0 the run is done;
75 stopped on request after saving, start it again; anything else is an error.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from dnw import checkpoint, ledger, models
from dnw.checkpoint import CheckpointError, Identity, Position
from dnw.config import ConfigError, Train, load, signature
from dnw.data import open_splits
from dnw.distributed import World, join, leave
from dnw.loop import Loop
from dnw.monitor import Monitor
from dnw.pictures import wiring_png
from dnw.preemption import STOPPED, StopRequest, die_with_parent, end_children
from dnw.profile import profile
from dnw.run import Run
from dnw.trainer import Trainer
from shards.atomic import replacing
from shards.errors import ShardError

log = logging.getLogger(__name__)


EXPECTED = (ConfigError, ShardError, CheckpointError)  # whose message says all there is to say


def main(arguments: list[str] | None = None) -> int:
    """Work on a run until it is done, or until it has to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dnw.train", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder")
    run = Run(parser.parse_args(arguments).run.resolve())
    die_with_parent()
    stop = StopRequest()
    stop.listen()
    try:
        train = load(run.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    attempt = int(os.environ.get("DNW_ATTEMPT") or ledger.next_attempt(run))
    began_s = time.monotonic()

    def end(reason: ledger.Reason, **facts: Any) -> None:
        ledger.end(run, attempt, reason, seconds=round(time.monotonic() - began_s, 3), **facts)

    try:
        _configure(train)
        world = join()
        _log_to(run, attempt, world)
        is_done, position = _work(run, train, world, attempt, stop)
        leave()
    except EXPECTED as error:
        message = _own_words(error)
        print(message, file=sys.stderr, flush=True)
        end("error", detail=message, rank=int(os.environ.get("RANK", "0")))
        return 1
    except Exception as error:
        end("error", detail=f"{type(error).__name__}: {error}", rank=int(os.environ.get("RANK", "0")))
        raise
    finally:
        end_children()
    if world.is_first:
        end("done" if is_done else "stopped", step=position.step)
    return 0 if is_done else STOPPED


def _own_words(error: Exception) -> str:
    """The message without the traceback that a DataLoader puts before it."""
    return str(error).rpartition(f"{type(error).__name__}: ")[2].strip()


def _configure(train: Train) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses to be deterministic
    torch.set_num_threads(train.threads)
    torch.use_deterministic_algorithms(train.deterministic)
    torch.backends.cudnn.benchmark = not train.deterministic
    # DDP means the stride of a 1x1 filter's pixels, which has no effect.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    on_cpu = not torch.cuda.is_available()
    if on_cpu and train.precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        warnings.warn("precision=bf16: this CPU has no bf16 instructions, fp32 is faster", stacklevel=1)


def _log_to(run: Run, attempt: int, world: World) -> None:
    """Plain lines: into the log file where a terminal shows the bar, else to stdout, which is that file."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if sys.stdout.isatty():
        run.logs.mkdir(exist_ok=True)
        handlers[0].setLevel(logging.WARNING)
        handlers.append(logging.FileHandler(run.log(attempt, 0)))
    level = logging.INFO if world.is_first else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", handlers=handlers)


def _work(run: Run, train: Train, world: World, attempt: int, stop: StopRequest) -> tuple[bool, Position]:
    """One attempt; whether the run is done, and how far it is."""
    splits = open_splits(train.data)
    trainer = Trainer(train, models.build(train), world, splits[0].num_samples)
    identity = Identity(train.exp, signature(train), splits[0].fingerprint, splits[1].fingerprint)
    _begin(run, trainer, identity)
    trainer.begin()
    if not world.is_first:
        is_done = Loop(run, trainer, splits, identity, None, stop).run()
    else:
        _announce(run, trainer, attempt)
        with Monitor(run, attempt, trainer.position, trainer.steps) as monitor:
            is_done = Loop(run, trainer, splits, identity, monitor, stop).run()
        if is_done:
            _publish(run, trainer, attempt)
        else:
            log.info("stopped after step %d, saved; start it again to go on", trainer.position.step)
    world.barrier()  # the launcher ends the others as soon as one has gone
    return is_done, trainer.position


def _begin(run: Run, trainer: Trainer, identity: Identity) -> None:
    """Go back to the newest whole checkpoint, or keep the initialization as one.

    The first rank chooses it: another may see an older state of a shared folder.
    """
    is_first = trainer.world.is_first
    saved = checkpoint.newest(run.checkpoints, identity) if is_first else None
    step = trainer.world.first_says(saved.position.step if saved else -1)
    if step < 0:
        snapshot = trainer.snapshot(identity)
        if is_first:
            checkpoint.write(run.checkpoints / "init.pt", checkpoint.encode(snapshot))
        return
    if saved is None:
        saved = checkpoint.read(checkpoint.step_path(run.checkpoints, step))
        checkpoint.check_identity(run.checkpoints, saved.identity, identity)
    trainer.restore(saved)


def _announce(run: Run, trainer: Trainer, attempt: int) -> None:
    world, position = trainer.world, trainer.position
    facts = {"nodes": world.nodes, "world": world.size, "device": str(world.device), "pid": os.getpid()}
    ledger.start(run, attempt, step=position.step, **facts)
    came_from = f"goes on after step {position.step}" if position.step else "begins"
    log.info(
        "%s %s: attempt %d, %d processes on %d nodes, %d steps in all",
        *(run.name, came_from, attempt, world.size, world.nodes, trainer.steps),
    )


def _publish(run: Run, trainer: Trainer, attempt: int) -> None:
    """Write what came out: the picture of the wiring, then the result."""
    position, model = trainer.position, trainer.show_for_evaluation()
    wiring_png(model, run.wiring)
    costs = profile(model, trainer.train.data.image_size)
    result = {
        "exp": trainer.train.exp,
        "signature": signature(trainer.train),
        "width": trainer.train.width,
        "wiring": trainer.train.wiring.name,
        "steps": position.step,
        "top1": position.top1,
        "top5": position.top5,
        "loss": position.loss,
        "best_top1": position.best_top1,
        "params": costs.params,
        "macs": costs.macs,
        "attempts": attempt,
    }
    with replacing(run.result) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())
    log.info("done: top-1 %.2f %%, %d parameters, %d multiply-adds", position.top1, costs.params, costs.macs)


if __name__ == "__main__":
    sys.exit(main())
