"""A process group that sends nothing, for ranks that aren't there, on which DistributedDataParallel works.

Three things that DDP does by itself need numbers, or a GPU's clock, and are left out. Before the first step
it compares the shapes of all ranks. With the second forward all ranks agree on a layout of its buckets: here
all gradients stay in one, as DDP begins, where it goes on with some of 25 MB, which adds a sum for each. And
it times steps with events of the device, for which it waits in the first ten steps and in each hundredth.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Logger, Reducer
from torch._C._distributed_c10d import _create_work_from_future as work_of  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

from dnw.training.distributed import World


class _Answering(dist.ProcessGroup):
    """The fake group for DDP, which takes sums from the work that a group returns: the fake one has none."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        super().__init__(group.rank(), group.size())  # type: ignore[call-arg]
        self._group = group

    def allreduce(self, tensors: Any, *options: Any) -> dist.Work:
        """Have the sum traced, and return the tensors as they are."""
        return _answered(self._group.allreduce, tensors, *options)

    def broadcast(self, tensors: Any, *options: Any) -> dist.Work:
        """Have the message traced, and return the tensors as they are."""
        return _answered(self._group.broadcast, tensors, *options)


def _answered(send: Any, tensors: Any, *options: Any) -> dist.Work:
    send(tensors, *options)
    future: Future[list[torch.Tensor]] = Future()
    future.set_result(list(tensors))
    return work_of(future)


@contextlib.contextmanager
def group(world: World) -> Iterator[None]:
    """Be a rank of `world`; alone there is no group."""
    if world.size == 1:
        yield
        return
    dist.init_process_group("fake", store=FakeStore(), rank=world.rank, world_size=world.size)
    answering = _Answering(dist.group.WORLD)
    left_out: dict[tuple[Any, str], Any] = {
        (distributed, "_get_default_group"): lambda: answering,
        (distributed, "_verify_param_shape_across_processes"): lambda *_: None,
        (Reducer, "_rebuild_buckets"): lambda _: False,
        (Logger, "set_runtime_stats_and_log"): lambda _: None,
    }
    for (owner, name), stand_in in left_out.items():
        setattr(owner, name, stand_in)
    warnings.filterwarnings(
        "ignore", message="Grad strides do not match bucket view strides"
    )  # see dnw.train
    try:
        yield
    finally:
        dist.destroy_process_group()
