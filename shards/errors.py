import difflib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

_WHO = re.compile(r"(?<=://)[^/\s]+@")  # name and password in an address


class ExpectedError(Exception):
    """An error whose message says all there is to say, so that it is told without a traceback."""


class ShardError(ExpectedError):
    """Shards, or the source of shards, that can't be used; the message says what, where, and the remedy.

    Attributes:
        key: the sample that is damaged; "" if that isn't known.
        offset: the byte of the shard where the damage shows; None if that isn't known.
    """

    def __init__(self, message: str, *, key: str = "", offset: int | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.offset = offset


class BadSampleError(ShardError):
    """A sample that is damaged, though its shard is there: trying again won't help, another one may do."""


def remake(folder: Path, skip: Iterable[str] = (), *, same_keys: bool = False) -> str:
    """Return the command that makes the indexes of a folder anew, leaving out what these patterns name.

    Args:
        folder: of the shards.
        skip: patterns of what is left out.
        same_keys: keys may stand in several shards.
    """
    words = ["python -m shards.index", shlex.quote(str(folder))]
    words += [f"--skip {shlex.quote(pattern)}" for pattern in skip]
    return " ".join(words + ["--same-keys"] * same_keys)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest known word, or nothing."""
    names = {one.lower(): one for one in known}
    nearest = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.6)
    return f"; did you mean {names[nearest[0]]}?" if nearest else ""


def without_credentials(text: str) -> str:
    """Return a text without the names and passwords of the addresses in it."""
    return _WHO.sub("", text)


def shown(address: str) -> str:
    """Return an address without what allows to read it: a signature, or name and password."""
    return without_credentials(address.partition("?")[0]) if address.startswith("http") else address
