"""How a command begins and ends: its arguments, and errors, each of which is one line on the terminal.

An error that isn't expected keeps its traceback: it is a fault of the program, and the traceback tells where.
"""

from __future__ import annotations

import argparse
import errno
import functools
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

from shards import terminal
from shards.errors import ExpectedError, did_you_mean
from shards.files.regular_file import FAILED, FAILURES

AGAIN = "Typed again, the command finishes the work."
_OF_THE_DISK = FAILURES | {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
_CHOICE = re.compile(r"argument (?P<name>\S+): invalid choice: '(?P<word>.*)' \(choose from (?P<known>.*)\)")
MISUSED = 2  # exit code of a command line that can't be followed
Arguments = ParamSpec("Arguments")


class Parser(argparse.ArgumentParser):
    """Parses the arguments of a command. What it can't follow is told in one line, with the nearest word.

    Options are taken by their whole names alone: an abbreviation would mean something else, or nothing, once
    another option is added.
    """

    def __init__(self, *, elsewhere: Mapping[str, str] | None = None, **settings: Any) -> None:
        """Prepare.

        Args:
            elsewhere: what to say of words that other tools have for a subcommand, by the word.
            **settings: argparse's own.
        """
        super().__init__(allow_abbrev=False, **settings)
        self._elsewhere = elsewhere or {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is left over is refused here, where a subcommand's own options are known."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """End the program with one line."""
        if found := _CHOICE.fullmatch(message):
            known = found["known"].replace("'", "").split(", ")
            meant = self._elsewhere.get(found["word"])
            nearest = f"; {meant}" if meant else did_you_mean(found["word"], known)
            message = f"{found['name']}: no {found['word']!r}{nearest}; there are: {', '.join(known)}"
        message = message.removeprefix("argument ").replace("the following arguments are required", "missing")
        self.exit(MISUSED, f"{self.prog}: {message} ({self.prog} --help)\n")

    def _unknown(self, words: Sequence[str]) -> str:
        word = next((word for word in words if word.startswith("-")), None)
        if word is None:
            return f"{words[0]}: one word too many"
        option, _, value = word.partition("=")
        name, usage = option.lstrip("-"), self.format_usage()
        if f"{name}=" in usage or "key=value" in usage:
            return f"{word}: no such option; a setting has no dashes: {name}={value or 'VALUE'}"
        described = re.findall(r"^ +(-.*?)(?:  |$)", self.format_help(), re.MULTILINE)
        options = [one for line in described for one in re.findall(r"(?<![\w-])--?\w[\w-]*", line)]
        return f"{option}: no such option{did_you_mean(option, options)}"


def name(text: str) -> str:
    """Parse the name of a file or folder; for argparse. Without one, it would be the folder where one is.

    Raises:
        argparse.ArgumentTypeError: it is empty, or an address.
    """
    if not text:
        raise argparse.ArgumentTypeError("must be the name of a file or folder (got '')")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r}: no name of a file holds a zero byte")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r}: an address; must be a file or folder of this machine")
    try:
        return expanded(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def expanded(text: str) -> str:
    """Return the name of a file with its ~, which shells leave as it is within a word, as in --data=~/x.

    Raises:
        ValueError: there is no such user, or a variable is left, which the shell would have replaced.
    """
    found = os.path.expanduser(text)  # noqa: PTH111  (pathlib's raises a RuntimeError, and drops a last slash)
    if found.startswith("~") and not os.path.lexists(found):
        raise ValueError(f"{text!r}: no home folder is known for it; write the whole path")
    if (variable := re.search(r"\$\w+", found)) and not os.path.lexists(found):
        raise ValueError(
            f"{text!r}: {variable[0]} is left as it is, as in single quotes; write it in double quotes"
        )
    return found


def path(text: str) -> Path:
    """Parse the path of a file or folder; for argparse."""
    return Path(name(text))


def count(text: str) -> int:
    """Parse a whole number, 0 or more; for argparse."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """Parse a whole number, 1 or more; for argparse."""
    return _whole(text, 1)


def port(text: str) -> int:
    """Parse a port that can be listened on; for argparse.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < number < 1 << 16:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535 (got {text})")
    return number


def seconds(text: str) -> float:
    """Parse a time to wait for, finite and greater than 0; for argparse.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = amount(text)
    if found == 0:
        raise argparse.ArgumentTypeError(f"must be greater than 0 (got {text})")
    return found


def amount(text: str) -> float:
    """Parse a finite number, 0 or more; for argparse.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a finite number, 0 or more")
    return number


def _whole(text: str, least: int) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, {least} or more")
    return number


def run(main: Callable[[], int | None], failed: int = 1, *, prefix: str = "", stopped: str = "") -> int:
    """Run a command and return its exit code.

    Args:
        main: returns the exit code, None for 0.
        failed: the exit code after an error that is told.
        prefix: what its message begins with.
        stopped: what to say after Ctrl-C besides.

    Returns:
        that of `main`; `failed` after one message on stderr, for an ExpectedError or an OSError that names a
        file; 130 after Ctrl-C.
    """
    terminal.interruptible()
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        more = f". {stopped}" if stopped else ""
        print(f"{prefix or f'{terminal.name()}: '}stopped by Ctrl-C{more}", file=sys.stderr)
        code = terminal.INTERRUPTED
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"{prefix}{message}", file=sys.stderr)
        code = failed
    terminal.leave()
    return code


def answers(failed: int = 1) -> Callable[[Callable[Arguments, int]], Callable[Arguments, int]]:
    """Have a function that returns an exit code end as `run` does."""

    def decorate(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
        @functools.wraps(main)
        def answering(*words: Arguments.args, **named: Arguments.kwargs) -> int:
            return run(lambda: main(*words, **named), failed)

        return answering

    return decorate


def explain(error: Exception) -> str | None:
    """Return what to say of an error in place of a traceback; None for a fault of the program."""
    if isinstance(error, ExpectedError):
        return str(error)
    if isinstance(error, OSError):
        return _of_a_file(error)
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415  (slow to import)

    if isinstance(error, BrokenProcessPool):
        return "a worker process was killed, perhaps for want of memory: try fewer --workers"
    return None


def is_full(error: OSError) -> bool:
    """Whether something isn't written for want of room, so that it helps to make some."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def _of_a_file(error: OSError) -> str | None:
    failed = f": {FAILED}" if error.errno in FAILURES else ""
    if isinstance(error.filename, str | bytes) or hasattr(error.filename, "__fspath__"):
        return f"{error.filename}: {error.strerror or error}{failed}"
    return f"{error.strerror}{failed}" if error.errno in _OF_THE_DISK else None
