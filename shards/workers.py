"""Work spread over processes that end together with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from shards import terminal

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Generator[tuple[int, Result], None, None]:
    """Yield (number of the task, its result) for every task, in the order in which they are done.

    The processes are spawned, so that threads of this one can't harm them. When a task fails, or the caller
    is interrupted or stops listening, tasks under way are finished and the others dropped. Only the main
    thread may call this. With no workers this process does it all.

    Args:
        function: does a task; a module's own, for spawned processes.
        tasks: one argument each.
        workers: processes; 0: none but this one.

    Raises:
        Whatever a task raises; BrokenProcessPool when a process was killed.
    """
    if workers == 0:
        yield from enumerate(map(function, tasks))
        return
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(max(1, min(workers, len(tasks))), spawn, _end_with_parent)
    try:
        with terminal.uninterrupted():  # Ctrl-C reaches the whole group, and the parent decides what it means
            numbers = {executor.submit(function, task): number for number, task in enumerate(tasks)}
        for future in as_completed(numbers):
            yield numbers.pop(future), future.result()
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # someone waits
            print("\nstopping as soon as what is under way is done", file=sys.stderr)
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    # a parent that is killed can't tell its workers, which would wait for tasks for ever
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
