import copy
import hashlib
import pickle
import random
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.order import Order, part

ORDERS = st.builds(
    Order,
    st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any).map(tuple),
    st.integers(0, 2**63 - 1),
    st.integers(0, 14),
)


@given(ORDERS, st.integers(0, 5))
def test_every_sample_once_an_epoch(order: Order, epoch: int) -> None:
    assert sorted(order.epoch_order(epoch).tolist()) == list(range(order.num_samples))


@given(ORDERS, st.integers(1, 13), st.integers(1, 6), st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_sequence_is_the_same_on_any_ranks_and_after_any_restart(
    order: Order, batch: int, steps: int, worlds: list[int]
) -> None:
    # the number of ranks changes with every step, as if the run were restarted there
    seen = []
    for step in range(steps):
        world = worlds[step % len(worlds)]
        fresh = Order(order.shard_lengths, order.seed, order.window)
        for rank in range(world):
            start, stop = part(batch, rank, world)
            seen += fresh.samples(step * batch + start, step * batch + stop).tolist()
    assert seen == order.samples(0, steps * batch).tolist()


@given(ORDERS)
def test_positions_run_on_across_epochs(order: Order) -> None:
    n = order.num_samples
    epochs = [order.epoch_order(epoch) for epoch in range(3)]
    assert (order.samples(0, 3 * n) == np.concatenate(epochs)).all()
    assert (order.samples(n - 1, n + 1) == [epochs[0][-1], epochs[1][0]]).all()


@given(ORDERS)
def test_a_window_is_read_to_its_end_before_the_next(order: Order) -> None:
    shard_of = np.repeat(np.arange(len(order.shard_lengths)), order.shard_lengths)
    window = order.window or len(order.shard_lengths)
    samples = order.epoch_order(0)
    done = 0
    while done < len(samples):
        # the shards of this window: as many as it takes, at most `window`, and none of them comes again
        length = next(
            end
            for end in range(done + 1, len(samples) + 1)
            if not set(shard_of[samples[done:end]]) & set(shard_of[samples[end:]])
        )
        assert len(set(shard_of[samples[done:length]])) <= window
        done = length


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_parts_cover_once_and_differ_by_at_most_one(total: int, world: int) -> None:
    parts = [part(total, rank, world) for rank in range(world)]
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == total
    lengths = [stop - start for start, stop in parts]
    assert max(lengths) - min(lengths) <= 1


def test_order_is_pinned() -> None:
    # runs under way continue in this order: a change must be a new version, not a new number here
    assert Order((3, 2, 4), seed=1, window=2).samples(0, 18).tolist() == PINNED
    long = Order((1251,) * 1024, seed=0, window=64).epoch_order(3)
    assert hashlib.sha256(long.tobytes()).hexdigest()[:16] == PINNED_LONG


def test_seed_and_epoch_change_the_order() -> None:
    order = Order((50, 50), seed=1)
    assert (order.epoch_order(0) != order.epoch_order(1)).any()
    assert (order.epoch_order(0) != Order((50, 50), seed=2).epoch_order(0)).any()


def test_no_window_is_one_window_of_all_shards() -> None:
    lengths = (3, 5, 7)
    assert (Order(lengths, 4).epoch_order(2) == Order(lengths, 4, window=3).epoch_order(2)).all()


def test_what_was_read_can_be_changed_without_harm() -> None:
    order = Order((4, 4), 0)
    before = order.samples(0, 8)
    order.samples(0, 8)[:] = 0
    assert (order.samples(0, 8) == before).all()


@given(ORDERS, st.integers(0, 40))
def test_a_copy_in_another_process_goes_on_the_same(order: Order, start: int) -> None:
    expected = order.samples(start, start + 5)
    assert (copy.copy(order).samples(start, start + 5) == expected).all()


def test_a_billion_samples_need_little_memory_and_no_time() -> None:
    """100,000 shards of 10,000; the bound on seconds is loose, as machines are busy."""
    order = Order((10_000,) * 100_000, seed=3, window=16)
    tracemalloc.start()
    seconds = []
    for position in (999_999_990, 123_456_789, 10**12):
        began = time.perf_counter()
        assert len(set(order.samples(position, position + 512).tolist())) == 512
        seconds.append(time.perf_counter() - began)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert min(seconds) < 0.5
    assert len(pickle.dumps(order)) < 1e6


def test_killed_and_moved_about_an_epoch_of_imagenet_stays_the_same() -> None:
    """1,281,167 samples; a new number of ranks, 1 to 64, every few hundred steps."""
    lengths = tuple(1252 if shard < 143 else 1251 for shard in range(1024))
    draw = random.Random(0)
    order = Order(lengths, seed=1, window=64)
    assert order.num_samples == 1_281_167
    seen, step, batch = [], 0, 512
    while step * batch < order.num_samples:
        fresh, world = Order(lengths, seed=1, window=64), draw.randint(1, 64)
        stop = min(step + draw.randint(100, 500), -(-order.num_samples // batch))
        for at in range(step, stop):
            for rank in range(world):
                first, last = part(batch, rank, world)
                seen.append(fresh.samples(at * batch + first, at * batch + last))
        step = stop
    samples = np.concatenate(seen)[: order.num_samples]
    assert (samples == order.epoch_order(0)).all()
    assert (np.sort(samples) == np.arange(order.num_samples)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Order((), 0), "must be samples"),
        (lambda: Order((0, 0), 0), "must be samples"),
        (lambda: Order((3, -1), 0), "must be samples"),
        (lambda: Order((3,), 0, -1), "must be a number of shards"),
        (lambda: Order((3,), 0).samples(2, 1), "start <= stop"),
        (lambda: Order((3,), 0).samples(-1, 1), "start <= stop"),
        (lambda: part(5, 2, 2), "rank < world"),
        (lambda: part(-1, 0, 1), "total >= 0"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


PINNED = [6, 5, 7, 4, 3, 8, 2, 1, 0, 8, 6, 7, 5, 4, 3, 0, 2, 1]
PINNED_LONG = "89984290a28dbb95"
