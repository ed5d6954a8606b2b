"""The same bits, however the micro-batches are split over processes; these are threads here."""

from __future__ import annotations

import dataclasses
import itertools
import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnw.training.distributed import ALONE, World
from dnw.training.tree_reduce import TreeSum


@dataclasses.dataclass(frozen=True)
class Thread(World):
    """One of several processes that share memory: `mail` is all of theirs."""

    mail: dict[tuple[int, int], queue.Queue[torch.Tensor]] = dataclasses.field(kw_only=True)
    sent: list[int] = dataclasses.field(default_factory=list, kw_only=True)  # entries

    def exchange(self, partner: int, sent: torch.Tensor, received: torch.Tensor) -> None:
        self.sent.append(len(sent))
        self.mail[self.rank, partner].put(sent.clone())
        received.copy_(self.mail[partner, self.rank].get(timeout=20))


def threads(size: int) -> list[Thread]:
    mail: dict[tuple[int, int], queue.Queue[torch.Tensor]] = {
        pair: queue.Queue() for pair in itertools.product(range(size), range(size))
    }
    return [Thread(rank, size, 1, ALONE.device, mail=mail) for rank in range(size)]


def summed(summands_MN: torch.Tensor, world: World) -> torch.Tensor:
    """What one process has in the end."""
    share = len(summands_MN) // world.size
    vector = torch.zeros(summands_MN.shape[1])
    tree = TreeSum(vector, len(summands_MN), world)
    for _ in range(2):  # memory is used again
        for number in range(share):
            vector.copy_(summands_MN[world.rank * share + number])
            tree.add(number)
        tree.across()
    return vector


def on_each(summands_MN: torch.Tensor, worlds: list[Thread]) -> list[torch.Tensor]:
    with ThreadPoolExecutor(len(worlds)) as pool:
        return list(pool.map(lambda world: summed(summands_MN, world), worlds))


def defined(summands_MN: np.ndarray, odd: int) -> np.ndarray:
    """The tree as its definition says."""
    half = len(summands_MN) // 2
    if len(summands_MN) > odd:
        return defined(summands_MN[:half], odd) + defined(summands_MN[half:], odd)
    total = summands_MN[0]
    for summand in summands_MN[1:]:
        total = total + summand
    return total


@settings(max_examples=60, deadline=None)
@given(
    odd=st.sampled_from([1, 3, 5]),
    levels=st.integers(0, 4),
    length=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_any_split_gives_the_bits_of_the_definition(
    odd: int, levels: int, length: int, seed: int, data: st.DataObject
) -> None:
    draw = np.random.default_rng(seed)
    shape = (odd << levels, length)
    summands_MN = (draw.normal(size=shape) * 2.0 ** draw.integers(-12, 12, shape)).astype(np.float32)
    size = 2 ** data.draw(st.integers(0, levels))
    expected = torch.from_numpy(defined(summands_MN, odd))
    for total in on_each(torch.from_numpy(summands_MN), threads(size)):
        assert torch.equal(total, expected)


def test_the_order_matters() -> None:
    """Or the test above could not fail."""
    summands_MN = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(summed(summands_MN, ALONE), summands_MN.sum(0))


@pytest.mark.parametrize("size", [2, 4, 8])
def test_no_more_is_sent_than_must_be(size: int) -> None:
    worlds = threads(size)
    on_each(torch.ones(8, 64), worlds)
    assert [sum(world.sent) / 2 for world in worlds] == [2 * 64 * (size - 1) / size] * size
    assert worlds[0].sent[0] == 32  # the most between neighbours


@pytest.mark.parametrize(("micro_batches", "size"), [(6, 3), (6, 4), (4, 8), (5, 2)])
def test_processes_that_cannot_share_a_tree(micro_batches: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} processes can't share a tree over {micro_batches} "):
        TreeSum(torch.zeros(3), micro_batches, threads(size)[0])
