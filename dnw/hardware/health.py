"""What would waste an allocation, looked for on each node before the first step, in about two seconds.

Each process tries its own GPU; the first one of a node looks at what the node's processes share. All tell
each other by torchrun's store, so that all end with the same word (dnw/training/distributed.py). A node that
fails is left out from then on; what is the same everywhere, such as a full disk under the run folder, is the
run's own fault.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import platform
import shutil
import socket
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from dnw.config import Train
from dnw.hardware import kernel_build
from dnw.hardware.device import SilentError, in_time
from dnw.splits import windows_bytes
from shards.errors import ShardError
from shards.files.folder_entries import files_below, matching
from shards.index import Index

SHARED_MEMORY = Path("/dev/shm")
FREE_SHARE = 0.5  # of a GPU's memory; another process holds the rest
CLOCK_S = 30.0  # that clocks may differ by
KEPT = 6  # batches that a loading process keeps in shared memory: BatchBufferPool in dnw/training/data.py
GB = 1e9


class UnfitError(RuntimeError):
    """A node that fails; `rank` is of the first process on it, `node` None if that isn't a node's fault."""

    def __init__(self, message: str, rank: int, node: str | None) -> None:
        super().__init__(message)
        self.rank, self.node = rank, node


@dataclasses.dataclass(frozen=True)
class Health:
    """What a process has found where it is."""

    node: str
    device: str  # cpu, cuda:1
    time: float  # seconds since 1970, by this node's clock
    versions: Mapping[str, str]
    node_problems: Sequence[str] = ()
    run_problems: Sequence[str] = ()

    @property
    def place(self) -> str:
        """Node and device, for people."""
        return f"{self.node}, {self.device}"


def node_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return this node's name, as the launcher has it; a host's own may be another than Slurm's."""
    return environment.get("DNW_NODE") or socket.gethostname()


def check(device: torch.device, train: Train, checkpoints: Path) -> Health:
    """Look at this process's device, and on the first process of a node at the node.

    Args:
        device: that it computes on.
        train: the configuration.
        checkpoints: the folder that has to have room for them.
    """
    now = time.time()
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    problems = _of_gpu(device) if device.type == "cuda" else []
    ranks, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return Health(
        node=node_name(),
        device=str(device),
        time=now,
        versions=versions() if is_first else {},
        node_problems=[
            *problems,
            *((*shared_memory(train, ranks, world), *cache(train)) if is_first else []),
        ],
        run_problems=disk(checkpoints) if is_first else [],
    )


def judge(found: Sequence[Health]) -> list[str]:
    """Return what to warn of, from all processes' healths by rank.

    Raises:
        UnfitError: on all ranks alike, of the first node that fails.
    """
    for rank, health in enumerate(found):
        if health.node_problems or health.run_problems:
            told = "; ".join(
                f"rank {other} ({one.place}): {problem}"
                for other, one in enumerate(found)
                for problem in (*one.node_problems, *one.run_problems)
            )
            raise UnfitError(told, rank, health.node if health.node_problems else None)
    if not found:  # nobody was examined
        return []
    _check_versions(found)
    clock = statistics.median_low([health.time for health in found])
    return [
        f"the clock of {health.node} is {health.time - clock:+.0f} s off those of the others: times mislead"
        for health in found
        if health.versions and abs(health.time - clock) > CLOCK_S
    ]


def versions() -> dict[str, str]:
    """Return what has to be the same on all nodes: Python, torch, this project's code as it is read here."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    found = [path for name in ("dnw", "shards") for path in files_below(root / name) if path.suffix == ".py"]
    for path in sorted(found):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "code": digest.hexdigest()[:10],
    }


def shared_memory(train: Train, ranks: int, world: int, folder: Path = SHARED_MEMORY) -> list[str]:
    """Return a problem if the batches of this node's loading processes don't fit there.

    Args:
        train: the configuration.
        ranks: processes of this node.
        world: processes of all nodes.
        folder: where shared memory is mounted.
    """
    workers = train.data.workers
    free = shutil.disk_usage(folder).free if folder.is_dir() else math.inf
    each, loaders = _training_batch(train), ranks * workers
    of_evaluation = 3 * train.eval_batch * train.data.test_size**2
    if free >= loaders * KEPT * max(each, of_evaluation):
        return []
    large = min(KEPT, _evaluation_batches(train, world * workers)) if of_evaluation > each else 0
    small = min(KEPT - large, _micro_batches(train, world * workers))
    needed = loaders * (large * of_evaluation + small * each)
    if free >= needed:
        return []
    batch = "eval_batch" if large else "micro_batch"
    return [
        f"{folder} has {free / GB:.3g} GB free, the loaders of {ranks} processes need {needed / GB:.3g}: "
        f"free it, or set a smaller data.workers or {batch}"
    ]


def _training_batch(train: Train) -> int:
    """Return the bytes of a micro-batch with images as large as they become."""
    side = max((size for _, size in train.augment.sizes), default=train.data.image_size)
    return 3 * train.micro_batch * side**2


def _micro_batches(train: Train, loaders: int) -> int:
    """Return how many micro-batches each loader has in all; of a run that counts epochs, enough."""
    if train.steps is None:
        return KEPT
    return math.ceil(train.steps * train.batch / (train.micro_batch * loaders))


def _evaluation_batches(train: Train, loaders: int) -> int:
    """Return how many whole batches each loader has in an evaluation at the least; 0 if that isn't known."""
    try:
        images = Index.load(train.data.dir, "val", train.data.store()).num_samples
    except ShardError:  # the run's own fault, and told as such
        return 0
    return images // train.eval_batch // loaders


def cache(train: Train) -> list[str]:
    """Return a problem if the shards that are fetched don't fit on this node's disk, two windows of them."""
    store = train.data.store()
    if store is None:
        return []
    try:
        needed = windows_bytes(train.data, Index.load(train.data.dir, "train", store))
    except ShardError:  # the run's own fault, and told as such
        return []
    place = next(folder for folder in (store.cache, *store.cache.parents) if folder.is_dir())
    there = [path.stat().st_size for path in matching(store.cache, "*.tar")]
    room = shutil.disk_usage(place).free + sum(there)
    if not os.access(place, os.W_OK | os.X_OK):
        return [f"{place}: can't be written to, and shards are to be fetched there (data.cache)"]
    if room >= needed:
        return []
    return [
        f"{place}: room for {room / GB:.3g} GB of shards, two windows take {needed / GB:.3g}: make room, or "
        "set data.cache or a smaller data.window"
    ]


def disk(checkpoints: Path) -> list[str]:
    """Return a problem if another checkpoint as large as the largest there is wouldn't fit."""
    sizes = [path.stat().st_size for path in matching(checkpoints, "*.pt")]
    free = shutil.disk_usage(checkpoints).free if sizes else 0
    if not sizes or free >= max(sizes):
        return []
    return [
        f"{checkpoints}: {free / GB:.3f} GB free, a checkpoint takes {max(sizes) / GB:.3f}: make room "
        f"(runs.py clean says what may go)"
    ]


def _of_gpu(device: torch.device) -> list[str]:
    try:
        problems = in_time(partial(gpu, device))
    except SilentError as error:
        return [str(error)]
    return problems or list(filter(None, [kernel_build.problem(device)]))


def gpu(device: torch.device) -> list[str]:
    """Return what is wrong with a GPU: a kernel, a copy to it and back, its free memory."""
    try:
        numbers = torch.arange(2**20, dtype=torch.float32)
        there = numbers.to(device)
        if not torch.equal((there + there).to("cpu"), numbers + numbers):
            return ["the GPU adds or copies wrongly"]
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        return [f"the GPU fails: {str(error).splitlines()[0]}"]
    if free < FREE_SHARE * total:
        return [f"{free / GB:.0f} of {total / GB:.0f} GB of the GPU are free: another process holds the rest"]
    return []


def _check_versions(found: Sequence[Health]) -> None:
    """Refuse nodes of other versions than most have; where no version has most, the run.

    Raises:
        UnfitError: with both sides.
    """
    firsts = {rank: health for rank, health in enumerate(found) if health.versions}
    counts = Counter(tuple(sorted(health.versions.items())) for health in firsts.values())
    if len(counts) <= 1:
        return
    ((usual, count), *_) = counts.most_common()
    rank, other = next((r, h) for r, h in firsts.items() if tuple(sorted(h.versions.items())) != usual)
    differing = ", ".join(
        f"{name} {other.versions[name]}, elsewhere {value}"
        for name, value in usual
        if other.versions[name] != value
    )
    is_minority = 2 * count > len(firsts)
    raise UnfitError(f"{other.node} has {differing}", rank, other.node if is_minority else None)
