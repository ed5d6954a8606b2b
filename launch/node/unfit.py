"""Nodes on which there is no Python, or no environment: launch/node/start.sh has left a file of each.

Of another node than the first one it counts as that node's report, for as long as this start of the job
lasts. Where the first one is unfit nobody leads; start.sh has the job start again, and the next attempt
enters it into the ledger, so that it counts like any other failure of that node. Where the code that the run
keeps is damaged, no node is to blame and none is named: the job ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.ledger import Reason
from launch.node.meeting import DAMAGED, LACKING
from launch.node.topology import Node
from launch.scheduler import array
from shards.atomic import replacing
from shards.files.folder_entries import matching


@dataclass(frozen=True)
class Unfit:
    """A node that could not start: its name, and why; which start of which job that was."""

    file: Path
    job: str
    restart: int
    rank: int
    host: str  # empty where the node isn't to blame: the code that the run keeps is damaged
    why: str
    time: float  # when it said so, seconds since 1970

    @property
    def told(self) -> str:
        """The same in a line, for people."""
        return f"{self.host}: {self.why}" if self.host else self.why


def reports(run: Run) -> dict[int, dict[str, Any]]:
    """Return what nodes of this start of the job around us have left, by rank, as Claim.reports does."""
    found = (one for one in _read(run) if (one.job, one.restart) == _here())
    return {one.rank: {"code": LACKING if one.host else DAMAGED, "detail": one.why} for one in found}


def enter_into_ledger(run: Run) -> None:
    """Enter earlier starts whose first node was unfit, and remove all files but those of this start."""
    for one in _read(run):
        if (one.job, one.restart) == _here():
            continue
        if one.rank == 0:
            number = ledger.next_attempt(run)
            hosts = [one.host] if one.host else []
            ledger.claim(run, number, job=one.job, restart=one.restart, hosts=hosts, host=one.host, pid=0)
            reason: Reason = "unfit" if one.host else "error"
            facts = {"node": one.host} if one.host else {"fault": "code"}
            ledger.end(run, number, reason, by="launcher", detail=one.told, saved=0, **facts)
        one.file.unlink(missing_ok=True)


def leave_word(run: Run, node: Node, why: str) -> None:
    """Leave word, as start.sh does, that this start of the job could not begin with a run.

    Args:
        run: one of several that the job works on.
        node: this one.
        why: in a line.
    """
    run.unfit.mkdir(exist_ok=True)
    with replacing(run.unfit / f"{node.job}-{node.restart}-{node.rank}") as file:
        file.write(f"\n{why}\n".encode())


def last_words(run: Run) -> str:
    """Return why the newest of them could not start; empty if there is none."""
    found = _read(run)
    return found[-1].told if found else ""


def _here() -> tuple[str, int]:
    job = array.own_name(os.environ) if "SLURM_JOB_ID" in os.environ else ""
    return job, int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _read(run: Run) -> list[Unfit]:
    if not run.unfit.is_dir():
        return []
    return sorted(_each(run), key=lambda one: (one.time, one.file.name))


def _each(run: Run) -> Iterator[Unfit]:
    for file in matching(run.unfit, "*-*-*[0-9]"):  # not *.new, which is being written
        job, restart, rank = file.name.split("-")
        with contextlib.suppress(FileNotFoundError):  # the next attempt has just entered it into the ledger
            host, _, why = file.read_text(errors="replace").partition("\n")
            yield Unfit(file, job, int(restart), int(rank), host, why.strip(), file.stat().st_mtime)
