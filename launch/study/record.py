"""A study on disk: Optuna's own journal in the runs folder, which any tool of Optuna's reads.

Optuna appends a line for each change, and locks the journal by a symbolic link meanwhile, which works on NFS;
a lock that was left by a process that died is taken over after 30 s. It doesn't mend a line that such a
process has left half-written: the next one would be appended to it, and the journal could not be read any
more. So `opened` cuts it off.

A trial enters the journal as a whole, its values and its run with it, before that run is submitted. What
becomes of the run is entered once it is known. So whoever goes on with the study finds it by its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnw.runs import lock
from dnw.runs.lock import HeldError, Lock
from launch.errors import LaunchError, not_written
from launch.study.settings import Direction
from launch.study.space import Params, Space
from shards.flock import flock

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "optuna.journal"
LOCK = "lock"
RUN, BEHIND, CAUSE, STEPS = "run", "behind", "cause", "steps"  # attributes of a trial
SETTINGS = "settings"  # of the study


@dataclass(frozen=True)
class Trial:
    """One trial, as the study has it."""

    number: int
    state: str  # running, complete, pruned, fail
    params: Params
    values: tuple[float, ...] | None  # of the objectives, in their order
    run: str  # <exp>/<folder>, below the folder of runs
    behind: str  # why it is stopped early; empty: it isn't
    cause: str  # of its failure
    evaluations: Mapping[int, float]  # by their ordinal, from 1
    steps: Mapping[int, int]  # after which these were made

    @property
    def is_open(self) -> bool:
        """Whether nobody knows yet what becomes of it."""
        return self.state == "running"


class Study:
    """A study, and the trials in it."""

    def __init__(self, storage: BaseStorage, name: str, folder: Path) -> None:
        self.folder = folder
        self._storage, self._id = storage, storage.get_study_id_from_name(name)
        directions = storage.get_study_directions(self._id)
        self.directions: list[Direction] = [
            "maximize" if one.name == "MAXIMIZE" else "minimize" for one in directions
        ]

    def attribute(self, name: str) -> Any:
        """Return what is kept with the study under a name; None if nothing is."""
        return self._storage.get_study_user_attrs(self._id).get(name)

    def keep(self, name: str, value: Any) -> None:
        """Keep something with the study."""
        self._storage.set_study_user_attr(self._id, name, value)

    def frozen(self) -> list[FrozenTrial]:
        """Return all trials in Optuna's own form, by number."""
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def trials(self) -> list[Trial]:
        """Return all trials, by number."""
        return [_trial(one) for one in self.frozen()]

    def add(self, params: Params, space: Space, run: str) -> Trial:
        """Enter a trial: its values, and the run that it is.

        Args:
            params: its values, by setting.
            space: that they are from.
            run: name of its run.
        """
        made = self._create("RUNNING", params, space, {RUN: run})
        return _trial(self._storage.get_trial(made))

    def add_failed(self, params: Params, space: Space, cause: str) -> None:
        """Enter a trial whose values make no run.

        Args:
            params: its values, by setting.
            space: that they are from.
            cause: why, for people.
        """
        self._create("FAIL", params, space, {CAUSE: cause})

    def report(self, trial: Trial, ordinal: int, value: float, step: int) -> None:
        """Enter an evaluation of a trial that trains.

        Args:
            trial: which.
            ordinal: of the evaluation, from 1.
            value: of the quality that is looked for.
            step: after which it was made.
        """
        attribute = {str(key): one for key, one in {**trial.steps, ordinal: step}.items()}
        self._set(trial, STEPS, attribute)
        self._storage.set_trial_intermediate_value(self._id_of(trial), ordinal, value)

    def fell_behind(self, trial: Trial, why: str) -> None:
        """Enter that a trial is to be stopped early; `end` follows once its run has stopped."""
        self._set(trial, BEHIND, why)

    def complete(self, trial: Trial, values: Sequence[float]) -> None:
        """Enter what came out of a trial."""
        self._end(trial, "COMPLETE", values)

    def pruned(self, trial: Trial) -> None:
        """Enter that a trial was stopped early."""
        self._end(trial, "PRUNED", None)

    def failed(self, trial: Trial, cause: str) -> None:
        """Enter that a trial came to nothing."""
        self._set(trial, CAUSE, cause)
        self._end(trial, "FAIL", None)

    def _create(self, state: str, params: Params, space: Space, attributes: Mapping[str, Any]) -> int:
        from optuna.trial import TrialState, create_trial  # noqa: PLC0415  (slow to import)

        template = create_trial(
            state=TrialState[state],
            params=dict(params),
            distributions={key: values.distribution() for key, values in space.items()},
            user_attrs=dict(attributes),
        )
        return self._storage.create_new_trial(self._id, template_trial=template)

    def _set(self, trial: Trial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._id_of(trial), name, value)

    def _end(self, trial: Trial, state: str, values: Sequence[float] | None) -> None:
        from optuna.trial import TrialState  # noqa: PLC0415  (slow to import)

        self._storage.set_trial_state_values(self._id_of(trial), TrialState[state], values)

    def _id_of(self, trial: Trial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)


@contextlib.contextmanager
def opened(folder: Path, directions: Sequence[str]) -> Iterator[Study]:
    """Open a study to go on with it, alone; make it, if it isn't there.

    Args:
        folder: of the study.
        directions: of its objectives.

    Raises:
        LaunchError: another process goes on with it, it can't be written, or it is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_elsewhere(folder)
        held = Lock.take(folder / LOCK)
    except HeldError:
        raise LaunchError(
            f"{folder.name}: {_holder(folder)} goes on with it; there it prints what happens"
        ) from None
    except OSError as error:
        raise not_written(folder, error) from None
    with held:
        held.write(attempt=0, job="-", host=socket.gethostname(), pid=os.getpid())
        _cut_off(folder / JOURNAL)
        storage = _storage(folder)
        if folder.name not in _names(storage):
            from optuna.study import StudyDirection  # noqa: PLC0415  (slow to import)

            storage.create_new_study([StudyDirection[one.upper()] for one in directions], folder.name)
        yield Study(storage, folder.name, folder)


def look(folder: Path) -> Study:
    """Open a study to look at it.

    Raises:
        LaunchError: there is none, or it is damaged.
    """
    if not (folder / JOURNAL).is_file():
        raise LaunchError(f"{folder}: no study; it would have a file {JOURNAL}")
    storage = _storage(folder)
    names = _names(storage)
    if not names:
        raise LaunchError(f"{folder}: a study that has not begun")
    return Study(storage, folder.name if folder.name in names else names[0], folder)


def _storage(folder: Path) -> BaseStorage:
    import optuna  # noqa: PLC0415  (slow to import)
    from optuna.storages import JournalStorage  # noqa: PLC0415
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    except (ValueError, KeyError) as error:
        raise LaunchError(
            f"{folder / JOURNAL}: damaged ({str(error).splitlines()[0]}); begin another study with "
            "hydra.sweeper.study_name=NAME: runs that are done aren't made again"
        ) from None


def _names(storage: BaseStorage) -> list[str]:
    return [one.study_name for one in storage.get_all_studies()]


def _cut_off(journal: Path) -> None:
    """Remove the beginning of a line, which a process has left that was killed while it wrote."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def _refuse_elsewhere(folder: Path) -> None:
    """Refuse where there are no locks, and a process of another machine has said that it goes on with it.

    Whether that one lives, nothing here tells; one of this machine, `Lock.take` looks for.

    Raises:
        LaunchError: with what to do if it has ended.
    """
    record = _record(folder)
    if not record or record["host"] == socket.gethostname():
        return
    with (folder / LOCK).open("rb") as file:
        has_locks = flock(file, shared=True) != "none"
    if not has_locks:
        raise LaunchError(
            f"{folder.name}: {_holder(folder)} goes on with it, as far as can be told without "
            f"locks, which this file system has not; if that process has ended, delete {folder / LOCK}"
        )


def _holder(folder: Path) -> str:
    record = _record(folder)
    return f"process {record['pid']} on {record['host']}" if record else "another process"


def _record(folder: Path) -> lock.Record:
    try:
        return lock.read(folder / LOCK)
    except json.JSONDecodeError:
        return {}


def _trial(one: FrozenTrial) -> Trial:
    attributes = one.user_attrs
    return Trial(
        number=one.number,
        state=one.state.name.lower(),
        params=one.params,
        values=None if one.state.name != "COMPLETE" or one.values is None else tuple(one.values),
        run=attributes.get(RUN, ""),
        behind=attributes.get(BEHIND, ""),
        cause=attributes.get(CAUSE, ""),
        evaluations=one.intermediate_values,
        steps={int(key): step for key, step in attributes.get(STEPS, {}).items()},
    )
