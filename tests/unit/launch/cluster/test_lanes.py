import random
from types import SimpleNamespace
from typing import Any

import pytest

from launch.cluster.lanes import Lane, divided, lanes, packs


@pytest.mark.parametrize(
    ("runs", "parallelism", "largest", "found"),
    [
        (3, 256, 1001, [Lane(256, (3,))]),
        (12, 256, 4, [Lane(64, (3,))] * 4),
        (12, 6, 4, [Lane(2, (4,))] * 3),
        (12, 4, 4, [Lane(1, (3,))] * 4),  # three arrays would be 1, 1 and 2 at a time, and end at other times
        (12, 2, 4, [Lane(1, (3, 3))] * 2),
        (12, 1, 4, [Lane(1, (4, 4, 4))]),
        (2000, 3, 1000, [Lane(1, (666,)), Lane(1, (667,)), Lane(1, (667,))]),
        (1500, 20, 1001, [Lane(10, (750,))] * 2),
        (3, 2, 1, [Lane(1, (1,)), Lane(1, (1, 1))]),  # no arrays at all
    ],
)
def test_how_a_sweep_is_divided(runs: int, parallelism: int, largest: int, found: list[Lane]) -> None:
    assert lanes(runs, parallelism, largest) == found


def test_the_limit_holds_over_all_arrays_and_no_run_is_lost() -> None:
    draw = random.Random(7)
    for _ in range(2000):
        runs, parallelism, largest = draw.randint(1, 90), draw.randint(1, 30), draw.randint(1, 20)
        found = lanes(runs, parallelism, largest)
        sizes = [size for lane in found for size in lane.sizes]
        assert sum(sizes) == runs
        assert 0 < min(sizes) <= max(sizes) <= largest
        assert sum(lane.share for lane in found) <= parallelism
        assert all(lane.share == 1 for lane in found if len(lane.sizes) > 1)  # where waiting costs nothing
        if runs >= parallelism:  # no place is left empty, and all lanes are equally long
            assert sum(lane.share for lane in found) == parallelism
            each = [sum(lane.sizes) / lane.share for lane in found]
            assert max(each) - min(each) <= 2


def test_whole_numbers_in_proportion() -> None:
    assert divided(10, [1, 1, 1]) == [3, 3, 4]
    assert divided(7, [2, 1]) == [4, 3]
    assert divided(0, [1, 2]) == [0, 0]


@pytest.mark.parametrize(
    ("runs", "pack", "sizes"),
    [(4, 4, [4]), (5, 4, [2, 3]), (3, None, [1, 1, 1]), (1, 8, [1]), (9, 4, [3, 3, 3]), (3, 1, [1, 1, 1])],
)
def test_runs_that_share_a_job_are_as_many_in_each(runs: int, pack: int | None, sizes: list[int]) -> None:
    plans: Any = [SimpleNamespace(launch=SimpleNamespace(pack=pack), number=number) for number in range(runs)]
    found = packs(plans)
    assert [len(one) for one in found] == sizes
    assert [plan for one in found for plan in one] == plans
