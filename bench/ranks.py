"""Local processes that are the ranks of a training, and what they measure."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import start_processes

from dnw.compose import training
from dnw.training.distributed import World, join, leave

Times = dict[str, list[float]]


def race(processes: int, measured: Callable[..., Times], words: list[str], *arguments: Any) -> Times:
    """Call measured(world, words, *arguments) in each process; return what the first one found.

    The processes are forked from one that has imported what the script imports, and asked nothing of a GPU.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.NamedTemporaryFile("r") as times:
        given = (processes, port, times.name, measured, words, *arguments)
        start_processes(_take_part, given, nprocs=processes, start_method="forkserver")
        found: Times = json.load(times)
    return found


def _take_part(
    rank: int,
    size: int,
    port: int,
    out: str,
    measured: Callable[..., Times],
    words: list[str],
    *arguments: Any,
) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    torch.set_num_threads(training(words).threads)
    world: World = join(timeout_s=600)
    found = measured(world, words, *arguments)
    if world.is_first:
        Path(out).write_text(json.dumps(found))
    leave()
