"""What the page shows, made when somebody looks, and at most every few seconds however many look."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.metrics_scan import MetricsScan
from launch.errors import LaunchError
from launch.query.curves import attempt_rows, curves
from launch.query.run_row import Row, finite
from launch.query.run_status import DAMAGED, damaged
from launch.query.run_table import RunTable
from shards import command

FRESH_S = 10.0  # files and Slurm are looked at no more often
PATIENCE_S = 1.0  # that a request waits for a new look, if there is one before
FAILED = "the runs could not be looked at; the terminal of runs.py serve says why"
SCAN_BYTES = 2**28  # of logs that are read at one look; what is left comes at the next ones
CURVES_OF = 32  # runs of which the curves are kept in memory


@dataclass(frozen=True)
class Answer:
    """A body, and what differs whenever it does."""

    body: bytes
    etag: str


class Snapshots:
    """How the selected runs stand, for any number of requests at the same time."""

    def __init__(self, select: Callable[[], Sequence[Run]]) -> None:
        """Look at nothing yet.

        Args:
            select: which runs; asked at every look, so that new ones appear.
        """
        self._select = select
        self._table = RunTable(asks_energy=True, scan_bytes=SCAN_BYTES)
        self._changed = threading.Condition()
        self._runs: dict[str, Run] = {}
        self._states: dict[str, str] = {}
        self._newest: Answer | None = None
        self._at = -FRESH_S  # by time.monotonic
        self._is_looking = self._is_in_slurm = False
        self._scans: dict[str, MetricsScan] = {}
        self._scanning = threading.Lock()

    def runs(self) -> Answer:
        """Return all rows as JSON; what was seen up to FRESH_S ago, or later where Slurm takes its time."""
        with self._changed:
            if time.monotonic() - self._at >= FRESH_S and not self._is_looking:
                self._is_looking = True
                threading.Thread(target=self._look, daemon=True).start()
            self._changed.wait_for(lambda: not self._is_looking, PATIENCE_S)
            self._changed.wait_for(lambda: self._newest is not None or not self._is_looking)
            return self._newest or _answer({"rows": [], "notes": [FAILED]}, {})

    def details(self, name: str) -> Answer | None:
        """Return curves and attempts of a run as JSON; None if there is none of that id.

        Args:
            name: its id, as in the rows.
        """
        run = self._runs.get(name)
        if run is None:
            return None
        notes: list[str] = []
        found: dict[str, object] = {"curves": {}, "attempts": [], "notes": notes}
        try:
            with self._scanning:
                scan = self._scans.pop(name, None) or MetricsScan(run.metrics, has_curves=True)
                self._scans[name] = scan  # the one used last stays longest
                for old in list(self._scans)[:-CURVES_OF]:
                    del self._scans[old]
                scan.read_on()
                found["curves"] = curves(scan)
            now = time.time() if self._states.get(name) == "running" else None
            found["attempts"] = [asdict(one) for one in attempt_rows(ledger.read(run), now)]
        except OSError as error:
            notes.append(command.explain(error) or str(error))
        except DAMAGED as error:
            notes.append(damaged(error))
        return _answer(found, {})

    def _look(self) -> None:
        """Look at the runs; the first time at their files before Slurm is asked."""
        try:
            if self._newest is None:
                self._publish(self._found(asks_slurm=False))
                if not self._is_in_slurm:
                    return
            self._publish(self._found(asks_slurm=True))
        finally:
            with self._changed:
                self._at, self._is_looking = time.monotonic(), False
                self._changed.notify_all()

    def _publish(self, answer: Answer) -> None:
        with self._changed:
            self._newest = answer
            self._changed.notify_all()

    def _found(self, asks_slurm: bool) -> Answer:
        """Look at the runs."""
        try:
            runs = self._select()
            rows, notes = self._table.look(runs, asks_slurm)
        except (LaunchError, OSError) as error:  # the folder of runs is gone, or can't be read now
            return _answer({"rows": [], "notes": [command.explain(error) or str(error)]}, {"at": time.time()})
        names = [identified(run) for run in runs]
        self._runs = dict(zip(names, runs, strict=True))
        self._states = {name: row.state for name, row in zip(names, rows, strict=True)}
        self._is_in_slurm = any(row.cluster == "slurm" for row in rows)
        found = [_shown(name, row) for name, row in zip(names, rows, strict=True)]
        return _answer(
            {"rows": found, "notes": notes, "is_asking": self._is_in_slurm and not asks_slurm},
            {"at": time.time()},
        )


def identified(run: Run) -> str:
    """Return the id of a run: its path can't be asked for, and may be no text at all."""
    return hashlib.sha256(str(run.folder).encode(errors="surrogateescape")).hexdigest()[:16]


def _shown(name: str, row: Row) -> dict[str, object]:
    return {"id": name, **asdict(row)}


def _answer(found: dict[str, object], more: dict[str, object]) -> Answer:
    """Return a body of `found` and `more`, the second of which makes no difference to its tag."""
    digest = hashlib.sha256(json.dumps(finite(found)).encode()).hexdigest()[:32]
    return Answer(json.dumps(finite({**found, **more}), allow_nan=False).encode(), f'W/"{digest}"')
