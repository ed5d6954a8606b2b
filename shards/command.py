"""How a command of this package ends: an error is one line on the terminal and exit code 1."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from shards.errors import ShardError


def positive(text: str) -> int:
    """A whole number, 1 or more; for argparse."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, 1 or more")
    return int(text)


def amount(text: str) -> float:
    """A finite number, 0 or more; for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a finite number, 0 or more")
    return number


def run(name: str, main: Callable[[], None]) -> int:
    """Run a command and return its exit code: 0 done, 1 an error, which is told, 130 stopped by Ctrl-C."""
    try:
        main()
    except KeyboardInterrupt:
        print(f"{name}: stopped. Typed again, the command finishes the work.", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenProcessPool:
        message = "a worker process was killed, perhaps for want of memory: try fewer --workers"
    except ShardError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    else:
        return 0
    print(f"{name}: {message}", file=sys.stderr)
    return 1
