"""The processes that train together: who they are, and what they agree on.

Tensors on the CPU travel by gloo, tensors on the GPU by NCCL, in one group.
"""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta

import torch
import torch.distributed as dist


@dataclasses.dataclass(frozen=True)
class World:
    """This process among those of the attempt."""

    rank: int
    size: int
    nodes: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes: checkpoints, metrics, the result."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def swap(self, partner: int, sent: torch.Tensor, received: torch.Tensor) -> None:
        """Send a tensor to another process and receive one from it; it calls this at the same time."""
        operations = [dist.P2POp(dist.isend, sent, partner), dist.P2POp(dist.irecv, received, partner)]
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    def copy_first(self, tensor: torch.Tensor) -> None:
        """Take over the first process's tensor, in place."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)

    def gather(self, numbers: list[int]) -> list[int]:
        """The numbers of all processes, in the order of their ranks."""
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(numbers)
        self.sum(counts)
        if not counts.any():
            return []
        start = int(counts[: self.rank].sum())
        gathered = torch.zeros(int(counts.sum()), dtype=torch.int64)
        gathered[start : start + len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        return [int(number) for number in self.sum(gathered).tolist()]

    def first_says(self, number: int) -> int:
        """The number that the first process has."""
        told = torch.tensor(number)
        if self.size > 1:
            dist.broadcast(told, src=0)
        return int(told)

    def barrier(self) -> None:
        """Wait for all processes."""
        self.sum(torch.zeros(1))


ALONE = World(rank=0, size=1, nodes=1, device=torch.device("cpu"))


def join(timeout_s: float = 600.0) -> World:
    """Become the process that torchrun's environment variables say.

    A process started without torchrun is alone.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return dataclasses.replace(ALONE, device=device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    nodes = size // int(os.environ["LOCAL_WORLD_SIZE"])
    return World(rank=dist.get_rank(), size=size, nodes=nodes, device=device)


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
        self._asked: tuple[dist.Work, torch.Tensor] | None = None

    def exchange(self, *wishes: bool) -> list[bool]:
        """State this process's wishes; return which of the last call's wishes anybody had."""
        mine = torch.tensor(wishes, dtype=torch.int32)
        if self._world.size == 1:
            return list(wishes)
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
        return [bool(wish) for wish in theirs.tolist()]
