"""Names of nodes as Slurm abbreviates them: n[01-03,7],gpu-a[1-2]b[3,4]."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

_PART = re.compile(r"\[([^][]*)\]|([^][,]+)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(hosts: str) -> tuple[str, ...]:
    """Return the single names, in Slurm's order, as `scontrol show hostnames` prints them.

    Args:
        hosts: as SLURM_JOB_NODELIST has them. Numbers keep their leading zeros; of several brackets in one
            name the last one counts fastest.

    Raises:
        ValueError: no such list.
    """
    return tuple(name for one in _split(hosts) for name in _names(one, hosts))


def _split(hosts: str) -> Iterator[str]:
    """Yield what stands between commas that are in no bracket."""
    for one in re.split(r",(?![^[]*\])", hosts.strip()):
        if not one:
            raise ValueError(f"names of nodes as Slurm writes them (got {hosts!r})")
        yield one


def _names(one: str, hosts: str) -> Iterator[str]:
    parts: list[list[str]] = []
    place = 0
    while place < len(one):
        found = _PART.match(one, place)
        if found is None:
            raise ValueError(f"names of nodes as Slurm writes them (got {hosts!r})")
        bracket, text = found.groups()
        parts.append([text] if bracket is None else list(_numbers(bracket, hosts)))
        place = found.end()
    return map("".join, itertools.product(*parts))


def _numbers(bracket: str, hosts: str) -> Iterator[str]:
    """Yield the numbers of one bracket, as wide as its first one."""
    for one in bracket.split(","):
        found = _RANGE.fullmatch(one)
        if found is None:
            raise ValueError(f"names of nodes as Slurm writes them (got {hosts!r})")
        first, last = found[1], found[2] or found[1]
        for number in range(int(first), int(last) + 1):
            yield f"{number:0{len(first)}d}"
