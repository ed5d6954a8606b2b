"""Work spread over processes that end together with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Generator[tuple[int, Result], None, None]:
    """(number of the task, its result) for every task, in the order in which they are done.

    The processes are spawned, so that threads of this one can't harm them. When a task fails, or the caller
    is interrupted or stops listening, tasks under way are finished and the others dropped. Only the main
    thread may call this. With no workers this process does it all.

    Raises:
        Whatever a task raises; BrokenProcessPool when a process was killed.
    """
    if workers == 0:
        yield from enumerate(map(function, tasks))
        return
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(max(1, min(workers, len(tasks))), spawn, _end_with_parent)
    try:
        with _without_interrupts():
            numbers = {executor.submit(function, task): number for number, task in enumerate(tasks)}
        for future in as_completed(numbers):
            yield numbers.pop(future), future.result()
    except KeyboardInterrupt:
        print("\nstopping as soon as what is under way is done", file=sys.stderr)
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    # Ctrl-C reaches the whole group, and the parent decides what it means. Processes that are started here
    # ignore it from their first instruction on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    # a parent that is killed can't tell its workers, which would wait for tasks for ever
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
