"""Runs as rows, looked at once or again and again: files that have not changed are not read again."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from dnw.runs.folder import Run
from dnw.runs.goodput import Goodput, goodput, published
from dnw.runs.metrics_scan import MetricsScan
from launch.cluster import job_energy, queue_place
from launch.query.cost import Cost, cost, energies
from launch.query.progress import Progress, length, progress
from launch.query.remembered import Remembered
from launch.query.run_row import Beside, Row, make_row
from launch.query.run_status import DAMAGED, READERS, RunStatus, damaged, query_status
from shards import command

PLACES_S = 60.0  # between two questions for the queues of others
ENERGY_S = 300.0  # between two questions for the accounts
T = TypeVar("T")


class RunTable:
    """Rows of runs, and what was read and asked to make them."""

    def __init__(self, asks_energy: bool = False, scan_bytes: int | None = None) -> None:
        """Begin without knowing anything.

        Args:
            asks_energy: ask the accounts what energy jobs have used.
            scan_bytes: of all logs together, read at most so many at a look for goodput; None: all.
        """
        self.asks_energy, self.scan_bytes = asks_energy, scan_bytes
        self.known = Remembered()
        self._scans: dict[Path, MetricsScan] = {}
        self._sharing = threading.Lock()
        self._lock = threading.Lock()  # a scan is read on by one thread at a time
        self._places: _Asked[queue_place.Places] = _Asked(queue_place.Places({}), PLACES_S)
        self._energies: _Asked[tuple[dict[str, float], str]] = _Asked(({}, ""), ENERGY_S)

    def look(self, runs: Sequence[Run], asks_slurm: bool = True) -> tuple[list[Row], list[str]]:
        """Return a row for each run, and notes on what could not be found out.

        Args:
            runs: any.
            asks_slurm: whether to, or to tell what files tell.
        """
        statuses, notes = query_status(runs, self.known, asks_slurm)
        places, energy, unasked = self._asked(statuses) if asks_slurm else ({}, {}, [])
        notes += unasked
        with self._lock:
            self._forget_all_but(runs)
            left = [self.scan_bytes]
            beside = [
                Beside(place=places.get(_job(one)), energy_kwh=energy.get(str(one.run.folder)))
                for one in statuses
            ]
            with ThreadPoolExecutor(READERS) as readers:
                made = list(readers.map(partial(self._row, left), statuses, beside))
        found = [row for row, _ in made]
        notes += [problem for _, problem in made if problem]
        notes += [f"{one.run.name}: {said}" for one in statuses if (said := _problem(one))]
        notes += [f"{row.run}: slow, {said}" for row in found for said in row.slow]
        return found, notes

    def _row(self, left: list[int | None], one: RunStatus, beside: Beside) -> tuple[Row, str]:
        """Return the row of a run, without what is in files that can't be read; and why they can't."""
        try:
            far, read = self._progress(one), self._goodput(one, left)
            return make_row(one, dataclasses.replace(beside, far=far, goodput=read[0], cost=read[1])), ""
        except OSError as error:
            problem = f"{one.run.name}: {command.explain(error) or error}"
        except DAMAGED as error:
            problem = f"{one.run.name}: {damaged(error)}"
        return make_row(dataclasses.replace(one, attempts=()), beside), problem

    def _progress(self, one: RunStatus) -> Progress:
        run = one.run
        if one.result is not None:
            return progress(run, one.attempts, one.result)
        files = (run.metrics, run.attempts, run.checkpoints, run.config)
        return self.known.of("progress", files, lambda: progress(run, one.attempts))

    def _goodput(self, one: RunStatus, left: list[int | None]) -> tuple[Goodput | None, Cost | None]:
        if one.result is not None:
            return published(one.result), cost(one.attempts)
        if not one.attempts:
            return None, None
        now = time.time() if one.state == "running" else None
        scan = self._scans.setdefault(one.run.folder, MetricsScan(one.run.metrics))
        with self._sharing:  # each thread gets what those before it leave
            allowed = left[0]
            if allowed is not None:
                left[0] = max(0, allowed - scan.unread())
        if allowed == 0 or not scan.read_on(allowed):
            return None, cost(one.attempts, now)
        return goodput(one.run, now, scan, one.attempts), cost(one.attempts, now, scan)

    def _asked(
        self, statuses: Sequence[RunStatus]
    ) -> tuple[dict[str, queue_place.Place], dict[str, float], list[str]]:
        """Return places in the queue by job, energies by folder, and why some aren't known."""
        jobs = [one.job for one in statuses if one.job is not None]
        waiting = frozenset(job.id for job in jobs if job.state == "PENDING")
        places = self._places.of(waiting, lambda: queue_place.places(jobs))
        notes = [f"{places.problem}; places in the queue aren't known"] if places.problem else []
        if not self.asks_energy:
            return places.found, {}, notes
        ledgers = {str(one.run.folder): one.attempts for one in statuses if _went_to_slurm(one)}
        key = frozenset((name, len(ledger)) for name, ledger in ledgers.items())

        def ask() -> tuple[dict[str, float], str]:
            ids = {str(attempt.job) for ledger in ledgers.values() for attempt in ledger if attempt.claim}
            told = job_energy.allocations(ids)
            return energies(ledgers, told.found), told.problem

        energy, problem = self._energies.of(key, ask)
        if problem:
            notes.append(f"{problem}; the energy of runs isn't known")
        return places.found, energy, notes

    def _forget_all_but(self, runs: Sequence[Run]) -> None:
        folders = {run.folder for run in runs}
        self.known.forget_all_but(folders)
        for folder in self._scans.keys() - folders:
            del self._scans[folder]


class _Asked(Generic[T]):
    """An answer that does for some time, unless the question is another one."""

    def __init__(self, first: T, lasts_s: float) -> None:
        self._answer, self._lasts_s = first, lasts_s
        self._question: object = None
        self._until = 0.0

    def of(self, question: object, ask: Callable[[], T]) -> T:
        if question != self._question or time.monotonic() >= self._until:
            self._answer, self._question = ask(), question
            self._until = time.monotonic() + self._lasts_s
        return self._answer


def rows(runs: Sequence[Run]) -> tuple[list[Row], list[str]]:
    """Return a row for each run, and notes on what could not be found out."""
    return RunTable().look(runs)


def _job(one: RunStatus) -> str:
    return one.job.id if one.job else ""


def _went_to_slurm(one: RunStatus) -> bool:
    return one.submission is not None and one.submission.cluster == "slurm"


def _problem(one: RunStatus) -> str:
    return "" if one.is_finished or one.problems else length(one.run.config).problem
