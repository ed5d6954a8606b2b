"""Runs the real workers under the real agent, on a run folder made by hand."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from example import values

from dnw.config import dump, parse
from dnw.runs import jsonl
from dnw.runs.folder import Run, step_path, steps
from dnw.training import checkpoint
from launch.node import agent, torchrun
from launch.node.topology import LOOPBACK, Node

ROOT = Path(__file__).resolve().parents[1]
# Starts processes from one that has imported what they import.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["dnw.train", "dnw.training.monitoring.dashboard", "torch.distributed.run", "launch.node.agent"]
)


def prepare(folder: Path, shards: Path, **changes: Any) -> Run:
    """A run folder with nothing but its configuration."""
    run = Run(folder)
    folder.mkdir(parents=True)
    run.config.write_text(dump(parse(values(data__dir=str(shards), **changes))))
    return run


def start(run: Run, nproc: int, fault: str = "") -> subprocess.Popen[str]:
    """Start torchrun's agent on a run, as a job does; the caller waits."""
    return subprocess.Popen(
        _command(run, nproc),
        env={**os.environ, **_environment(fault)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train(
    run: Run, nproc: int, fault: str = "", worker: str = "dnw.train", **variables: str
) -> tuple[int, str]:
    """Run to the end, with these environment variables; the agent's exit code and all that was printed.

    The agent is forked from a process that has imported what it imports, which saves that each time; `worker`
    is the module that its workers run.
    """
    arguments = _command(run, nproc, worker)[3:]  # python -m launch.node.agent
    with tempfile.NamedTemporaryFile("r", prefix="printed-") as printed:
        process = SERVER.Process(
            target=_agent, args=(arguments, _environment(fault) | variables, printed.name)
        )
        process.start()
        process.join(timeout=200)
        if process.exitcode is None:
            process.kill()  # its workers die with it
            raise TimeoutError(printed.read())
        return process.exitcode, printed.read()


def _command(run: Run, nproc: int, worker: str = "dnw.train") -> list[str]:
    node = Node(0, 1, LOOPBACK, "-", 0, ("here",))
    return torchrun.command(
        run.folder, node, nproc, port=0, meeting=run.folder.name, grace_s=60, worker=(worker,)
    )


def _environment(fault: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DNW_FAULT": fault}


def redirect(printed: Path) -> None:
    """Have this process print to a file, after what is there."""
    with printed.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _agent(arguments: list[str], environment: dict[str, str], printed: str) -> None:
    os.setsid()
    os.environ.update(environment)
    redirect(Path(printed))
    code = agent.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    """What the last checkpoint holds."""
    last = steps(run.checkpoints)[-1]
    state = checkpoint.read(step_path(run.checkpoints, last))
    momentum = {f"momentum {k}": v["momentum_buffer"] for k, v in state.optimizer["state"].items()}
    return {**state.model, **momentum}


def losses(run: Run) -> dict[int, float]:
    """The logged training loss of each step."""
    return {line["step"]: line["loss"] for line in jsonl.read(run.metrics) if line["kind"] == "train"}


def digests(run: Run) -> dict[int, list[str]]:
    """What each micro-batch of each step held."""
    return {line["step"]: line["digests"] for line in jsonl.read(run.digests)}


def assert_same_weights(ours: Run, theirs: Run) -> None:
    """Bit for bit, the optimizer's momentum and running statistics included."""
    a, b = final_weights(ours), final_weights(theirs)
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
