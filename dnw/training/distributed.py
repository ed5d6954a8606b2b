"""The processes that train together: who they are, and what they agree on.

Tensors on the CPU travel by gloo, tensors on the GPU by NCCL, in one group.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from dnw.hardware import device, health
from dnw.hardware.device import DeviceError
from dnw.hardware.health import Health, UnfitError

log = logging.getLogger(__name__)
Examine = Callable[[torch.device], Health]


@dataclasses.dataclass(frozen=True)
class World:
    """This process among those of the attempt."""

    rank: int
    size: int
    nodes: int
    device: torch.device
    places: tuple[str, ...] = ()  # node and device of each rank, for people

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes: checkpoints, metrics, the result."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def exchange(self, partner: int, sent: torch.Tensor, received: torch.Tensor) -> None:
        """Send a tensor to another process and receive one from it; it calls this at the same time.

        Args:
            partner: its rank.
            sent: the tensor that it receives.
            received: overwritten with what it sends; of the same shape and type.
        """
        operations = [dist.P2POp(dist.isend, sent, partner), dist.P2POp(dist.irecv, received, partner)]
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    def broadcast_(self, tensor: torch.Tensor) -> None:
        """Take over the first process's tensor, in place."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)

    def gather(self, numbers: list[int]) -> list[int]:
        """Return the numbers of all processes, in the order of their ranks."""
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(numbers)
        self.sum(counts)
        if not counts.any():
            return []
        start = int(counts[: self.rank].sum())
        gathered = torch.zeros(int(counts.sum()), dtype=torch.int64)
        gathered[start : start + len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        return [int(number) for number in self.sum(gathered).tolist()]

    def broadcast_int(self, number: int) -> int:
        """Return the number that the first process has."""
        told = torch.tensor(number)
        if self.size > 1:
            dist.broadcast(told, src=0)
        return int(told)

    def barrier(self) -> None:
        """Wait for all processes."""
        self.sum(torch.zeros(1))


TICK_S, MOST_TICKS = 1e-5, 2**31 - 1  # of times that travel as integers
ALONE = World(rank=0, size=1, nodes=1, device=torch.device("cpu"))


def join(timeout_s: float, pins_sums: bool = False, examine: Examine | None = None) -> World:
    """Become the process that torchrun's environment variables say; one started without torchrun is alone.

    Before they meet in a process group, which would hang between gloo and NCCL, all ranks tell each other by
    torchrun's store what device they have, and how they are.

    Args:
        timeout_s: of a collective operation; see `patience_s` of dnw/training/watchdog.py.
        pins_sums: whether NCCL has to add in one order on equal topologies.
        examine: finds out how this process's device and node are.

    Raises:
        DeviceError: on all ranks: one can't have the device that the run was launched for, or they differ.
        UnfitError: on all ranks: a node fails.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    kind, own = _own_device()
    if size == 1:
        _check_devices([f"{health.node_name()} {kind}"])
        found = [] if examine is None else [examine(own)]
        health.judge(found)
        return dataclasses.replace(ALONE, device=_taken(own), places=tuple(one.place for one in found))
    timeout = timedelta(seconds=timeout_s)
    store, rank, size = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    _check_devices(_exchanged(PrefixStore("devices", store), rank, size, f"{health.node_name()} {kind}"))
    found = _examined(PrefixStore("health", store), rank, size, own, examine)
    _taken(own)
    _set_up_nccl(timeout_s, pins_sums)
    backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
    group = PrefixStore("group", store)
    dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=timeout)
    nodes = size // int(os.environ["LOCAL_WORLD_SIZE"])
    places = tuple(one.place for one in found)
    return World(rank=rank, size=size, nodes=nodes, device=own, places=places)


def _own_device() -> tuple[str, torch.device]:
    """Return what to tell the others (cpu, cuda, or why this process has no device), and the device."""
    try:
        own = device.in_time(device.choose)
    except ValueError as error:
        return str(error), torch.device("cpu")
    return own.type, own


def _taken(own: torch.device) -> torch.device:
    """Make a device this process's own, once it was examined: of one that hangs nothing would come back."""
    if own.type == "cuda":
        torch.cuda.set_device(own)
    return own


def _check_devices(told: Sequence[str]) -> None:
    """Refuse processes without their device: their nodes, where others have theirs, else the run.

    Args:
        told: for each rank the node, and after a space the kind of its device or why it has none.

    Raises:
        UnfitError: a node has fewer GPUs than were asked for, or none that can be used, and another one has
            them; or its driver gives no answer.
        DeviceError: no node has.
    """
    nodes, kinds = zip(*(one.split(" ", 1) for one in told), strict=True)
    try:
        device.check_alike(kinds)
    except DeviceError as error:
        lacking = {node for node, kind in zip(nodes, kinds, strict=True) if kind != "cuda"}
        if lacking != set(nodes) or kinds[error.rank].startswith(device.SILENT):
            raise UnfitError(str(error), error.rank, nodes[error.rank]) from None
        raise


def _examined(store: Store, rank: int, size: int, own: torch.device, examine: Examine | None) -> list[Health]:
    """Return how all ranks are.

    Raises:
        UnfitError: a node fails.
    """
    mine = Health(health.node_name(), str(own), time.time(), {}) if examine is None else examine(own)
    told = _exchanged(store, rank, size, json.dumps(dataclasses.asdict(mine)))
    found = [Health(**json.loads(one)) for one in told]
    for warning in health.judge(found):
        if rank == 0:
            log.warning("%s", warning)
    return found


def _exchanged(store: Store, rank: int, size: int, told: str) -> list[str]:
    """Return what each rank tells, in the order of ranks: three questions each, however many there are."""
    store.set(str(rank), told)
    others = [str(other) for other in range(size)]
    store.wait(others)
    return [one.decode() for one in store.multi_get(others)]


def _set_up_nccl(timeout_s: float, pins_sums: bool) -> None:
    """Set what NCCL reads from the environment, and leave what the user has set.

    Torch kills a process whose NCCL thread gives no sign of life for 480 s; here not before `timeout_s`,
    as the watchdog may be more patient. A ring is the algorithm that every collective operation has, and
    Simple the protocol that every link has: these two may be asked for anywhere. Left to itself NCCL chooses
    by the size of the message and by how fast it takes the links to be.
    """
    os.environ.setdefault("TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC", str(round(timeout_s)))
    if pins_sums:
        os.environ.setdefault("NCCL_ALGO", "Ring")
        os.environ.setdefault("NCCL_PROTO", "Simple")


def leave() -> None:
    """Close what `join` opened."""
    if dist.is_initialized():
        dist.destroy_process_group()


class Agreement:
    """Makes all processes act on a wish of any of them after the same step.

    Each process states its wishes once a step; the answer to them comes with the next step's call, so
    that nobody waits for a message that is still under way.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ticks = torch.zeros(0, dtype=torch.int32)
        self._asked: tuple[dist.Work, torch.Tensor] | None = None

    @property
    def times(self) -> list[float]:
        """Seconds of all ranks, by the last answer; none before there was one."""
        return [TICK_S * ticks for ticks in self._ticks.tolist()]

    def exchange(self, *wishes: bool, own_s: float = 0.0) -> list[bool]:
        """State this process's wishes; return which of the last call's wishes anybody had.

        Its own time of this step travels with them: each rank fills one place, the largest of all is its.
        """
        if self._world.size == 1:
            return list(wishes)
        mine = torch.zeros(len(wishes) + self._world.size, dtype=torch.int32)
        mine[: len(wishes)] = torch.tensor(wishes, dtype=torch.int32)
        mine[len(wishes) + self._world.rank] = min(round(own_s / TICK_S), MOST_TICKS)
        answer = self.settle(len(wishes))
        work = dist.all_reduce(mine, op=dist.ReduceOp.MAX, async_op=True)
        assert work is not None
        self._asked = (work, mine)
        return answer

    def settle(self, count: int) -> list[bool]:
        """Wait for the answer that is still under way; nobody's wish if there is none."""
        if self._asked is None:
            return [False] * count
        work, theirs = self._asked
        work.wait()
        self._asked = None
        self._ticks = theirs[count:]
        return [bool(wish) for wish in theirs[:count].tolist()]
