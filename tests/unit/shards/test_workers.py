import os
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

import pytest

from shards import workers


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail(number: int) -> int:
    raise ValueError(f"task {number}")


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_result_bears_the_number_of_its_task() -> None:
    before = signal.getsignal(signal.SIGINT)
    found = dict(workers.run(square, [3, 4, 5], 2))
    assert {number: value for number, (value, _) in found.items()} == {0: 9, 1: 16, 2: 25}
    assert os.getpid() not in {pid for _, pid in found.values()}
    assert signal.getsignal(signal.SIGINT) is before  # Ctrl-C is heard again


def test_without_workers_this_process_does_it() -> None:
    assert list(workers.run(square, [2, 3], 0)) == [(0, (4, os.getpid())), (1, (9, os.getpid()))]


@pytest.mark.parametrize(("function", "error"), [(fail, ValueError), (die, BrokenProcessPool)])
def test_a_task_that_fails_ends_the_work(function: Callable[[int], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        list(workers.run(function, [1], 1))
