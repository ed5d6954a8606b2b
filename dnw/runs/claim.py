"""The claim of an attempt: it may write to its run until a later attempt takes the run over.

A lock is not enough: a partitioned node keeps running, beside the attempt that follows; what it writes may
even arrive minutes later. So each attempt has a folder of its own, `claims/NNN`, made with one mkdir, and
everything that it publishes is written in there first and then renamed to its place. The next attempt makes
its own folder, then removes this one, before it reads anything: from then on there is nothing that could be
renamed, on whatever machine, at whatever time. What is appended (metrics, ledger) is checked just before; the
next attempt cuts off what slipped through.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError
from shards.atomic import replacing
from shards.files.folder_entries import matching

ENDED, FAILED = "node-", "failed-"  # reports of nodes, and of those on which the attempt has failed
Look = Literal["works", "failed", "superseded"]  # on all nodes, on one of them; a later one has taken over


class SupersededError(RuntimeError):
    """A later attempt has taken the run over: this one must end, and leave everything as it is."""


@dataclass(frozen=True)
class Claim:
    """The right of an attempt to write to its run."""

    run: Run
    number: int

    @classmethod
    def take_over(cls, run: Run) -> Claim:
        """Begin the next attempt; no earlier one can publish anything once this returns.

        Raises:
            HeldError: another process has just done so.
        """
        claim = cls(run, max(ledger.next_attempt(run), cls.newest(run) + 1))
        run.claims.mkdir(exist_ok=True)
        try:
            claim.folder.mkdir()
        except FileExistsError:
            raise HeldError(
                f"{run.claims}: attempt {claim.number} was begun by another job just now"
            ) from None
        claim._remove_others()
        return claim

    def next(self) -> Claim:
        """Begin another attempt in place of this one.

        Raises:
            SupersededError: someone else has taken the run over meanwhile.
        """
        claim = Claim(self.run, self.number + 1)
        try:
            claim.folder.mkdir()
        except FileExistsError:
            raise self._superseded() from None
        if not self.holds():  # the one who removed it may be done already
            _remove(claim.folder)
            raise self._superseded()
        claim._remove_others()
        return claim

    @staticmethod
    def newest(run: Run) -> int:
        """Return the number of the newest attempt that has not let go; 0 if there is none."""
        names = [path.name for path in matching(run.claims, "[0-9]*")]
        return max(map(int, names), default=0)

    @property
    def folder(self) -> Path:
        """What the attempt writes, before it is published."""
        return self.run.claims / f"{self.number:03d}"

    def holds(self) -> bool:
        """Whether no later attempt has taken the run over."""
        return self.folder.exists()

    def check(self) -> None:
        """Check that no later attempt has taken over.

        Raises:
            SupersededError: a later attempt has taken over.
        """
        if not self.holds():
            raise self._superseded()

    @contextlib.contextmanager
    def replacing(self, path: Path) -> Iterator[BinaryIO]:
        """Yield a file to write, which takes the name `path` once the block has ended well.

        Raises:
            SupersededError: a later attempt has taken the run over; `path` is as it was.
            OSError: the disk is full, or the like; `path` is as it was.
        """
        try:
            with replacing(path, through=self.folder / path.name) as file:
                yield file
        except FileNotFoundError:
            self.check()
            raise

    def look(self) -> Look:
        """Return how the attempt stands: one listing, of a folder that is empty but at its ends."""
        try:
            has_failed = any(path.name.startswith(FAILED) for path in self.folder.iterdir())
        except FileNotFoundError:
            return "superseded"
        return "failed" if has_failed else "works"

    def report(self, node: int, has_failed: bool = False, **facts: Any) -> None:
        """Leave word for the first node of how the attempt ended on one.

        That it has failed is in the name, so that hundreds of nodes see it without reading each other's.
        """
        try:
            with replacing(self.folder / f"{FAILED if has_failed else ENDED}{node}.json") as file:
                file.write(json.dumps(facts).encode())
        except FileNotFoundError:
            self.check()
            raise

    def reports(
        self, known: Mapping[int, dict[str, Any]] = MappingProxyType({})
    ) -> dict[int, dict[str, Any]]:
        """Return what the nodes have reported so far; what is known already isn't read again."""
        found = dict(known)
        for path in matching(self.folder, "*-*.json"):
            kind, _, node = path.stem.rpartition("-")
            if f"{kind}-" in {ENDED, FAILED} and int(node) not in found:
                found[int(node)] = json.loads(path.read_bytes())
        return found

    def release(self) -> None:
        """Let go: there is nothing more to write."""
        if self.holds():
            _remove(self.folder)

    def _remove_others(self) -> None:
        for folder in sorted(self.run.claims.iterdir()):
            if folder != self.folder:
                _remove(folder)

    def _superseded(self) -> SupersededError:
        newest = Claim.newest(self.run)
        who = f"attempt {newest} has taken over" if newest > self.number else "it was stopped meanwhile"
        return SupersededError(f"{self.run.name}: attempt {self.number} writes no more, {who}")


def _remove(folder: Path) -> None:
    # Under another name first: what is on its way in there finds nothing.
    gone = folder.with_name(f".{folder.name}-{os.getpid()}") if not folder.name.startswith(".") else folder
    with contextlib.suppress(FileNotFoundError):  # someone else is removing it
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
