"""The values of the next trial: a function of the study's seed, the trial's number and what is known."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.study.record import Study
from launch.study.settings import Direction, StudySettings
from launch.study.space import Params, untried

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

DRAWS = 20  # until a combination comes up that hasn't been tried


def propose(settings: StudySettings, study: Study) -> Params | None:
    """Return the values of the next trial; None where every combination has been tried.

    Optuna is asked on a copy of the study in memory: a trial enters the study as a whole, with its run.

    Args:
        settings: what to choose from, and how.
        study: what is known.
    """
    known = study.frozen()
    tried = [dict(one.params) for one in known]
    for draw in range(DRAWS):
        params = _drawn(settings, study.directions, known, seed(settings.typed.seed, len(known), draw))
        if params not in tried:
            return params
    return untried(settings.space, tried, random.Random(seed(settings.typed.seed, len(known), DRAWS)))


def seed(of_study: int, number: int, draw: int) -> int:
    """Return the seed of one draw, of 32 bits.

    Args:
        of_study: its seed.
        number: of the trial.
        draw: of this trial, from 0.
    """
    text = f"{of_study} {number} {draw}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")


def _drawn(
    settings: StudySettings, directions: Sequence[Direction], known: Sequence[FrozenTrial], of_draw: int
) -> Params:
    import optuna  # noqa: PLC0415  (slow to import)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        copy = optuna.create_study(directions=list(directions), sampler=_sampler(settings, of_draw))
        copy.add_trials([_without_evaluations(one) for one in known])
        drawn = copy.ask({key: values.distribution() for key, values in settings.space.items()}).params
    return {key: values.fit(drawn[key]) for key, values in settings.space.items()}


def _sampler(settings: StudySettings, of_draw: int) -> BaseSampler:
    from optuna import samplers  # noqa: PLC0415  (slow to import)

    if settings.typed.sampler == "random":
        return samplers.RandomSampler(seed=of_draw)
    return samplers.TPESampler(seed=of_draw)


def _without_evaluations(one: FrozenTrial) -> FrozenTrial:
    """Return a trial as samplers take it: TPE can't rank by evaluations where objectives are several."""
    from optuna.trial import create_trial  # noqa: PLC0415  (slow to import)

    return create_trial(
        state=one.state,
        values=one.values if one.state.name == "COMPLETE" else None,
        params=one.params,
        distributions=one.distributions,
    )
