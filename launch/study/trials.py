"""The run of each trial: composed, checked and named as the same words would be if they were typed alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dnw.config import ConfigError
from dnw.runs.folder import Run, signature_in
from launch import prepare, snapshot
from launch.compose import Composed, compose
from launch.errors import LaunchError
from launch.prepare import RunPlan
from launch.scheduler import gres
from launch.study.record import SETTINGS, Study, Trial
from launch.study.settings import StudySettings, differing
from launch.study.space import Numbers, Params
from shards import command

IMAGES = "images"  # attribute of a study: fingerprints of both splits
Plans = Callable[[Params], RunPlan]


def plan(settings: StudySettings, params: Params, in_foreground: bool) -> RunPlan:
    """Return the run of some values, with nothing written yet.

    Args:
        settings: of the study.
        params: the values.
        in_foreground: it is to run here and now.

    Raises:
        ConfigError: these values can't be run.
        LaunchError, ShardError: no run can be made here.
    """
    (composed,) = compose([*settings.trial_words(params), *settings.kept])
    chosen = frozenset(word for word in composed.overrides if word.lstrip("+").partition("=")[0] in params)
    composed = dataclasses.replace(composed, apart=chosen)
    made = prepare.plan(composed, in_foreground, gres.node_kinds)
    pack = settings.pack if settings.pack > 1 else None
    launch = dataclasses.replace(made.launch, wait=False, dry_run=False, pack=pack)
    return dataclasses.replace(made, launch=launch)


def first_plan(composed: Composed, settings: StudySettings, in_foreground: bool) -> RunPlan:
    """Return the run that has the first of the values that each setting may take, to show it.

    Args:
        composed: what was typed, with those values.
        settings: of the study.
        in_foreground: trials run here and now.

    Raises:
        ConfigError, LaunchError, ShardError: as `plan`.
    """
    alone = dataclasses.replace(
        composed, overrides=tuple(word for word in composed.overrides if _is_shown(word))
    )
    return prepare.plan(alone, in_foreground)


def unfit_bounds(settings: StudySettings, in_foreground: bool) -> Iterator[str]:
    """Yield what to say of upper bounds that can't be run beside the first value of all others.

    Args:
        settings: of the study.
        in_foreground: it is to run here and now.
    """
    for key, values in settings.space.items():
        if isinstance(values, Numbers):
            try:
                plan(settings, {**settings.first, key: values.fit(values.high)}, in_foreground)
            except ConfigError as error:
                yield f"{why_not(error)}: trials up there will fail"


def check_same(study: Study, settings: StudySettings) -> None:
    """Refuse to go on with a study under settings that are other than it began with.

    Raises:
        LaunchError: with both sides.
    """
    there: dict[str, Any] | None = study.attribute(SETTINGS)
    if there is None:
        study.keep(SETTINGS, settings.identity())
        return
    if found := differing(there, settings.identity()):
        raise LaunchError(
            f"{settings.name}: another study of this name is there: {'; '.join(found)}. Type what it began "
            "with to go on with it, or name another one with hydra.sweeper.study_name=NAME"
        )


def check_images(study: Study, settings: StudySettings, made: RunPlan) -> None:
    """Refuse images that are other than those of the study's earlier trials.

    Args:
        study: with the trials so far.
        settings: of the study, for the message.
        made: the run of the next trial.

    Raises:
        LaunchError: they are.
    """
    data = made.train.data
    images = [data.train_fingerprint, data.val_fingerprint]
    if any(key.lstrip("+").startswith("data") for key in settings.space):
        return
    if study.attribute(IMAGES) is None:
        study.keep(IMAGES, images)
    elif study.attribute(IMAGES) != images:
        raise LaunchError(
            f"{settings.name}: {data.dir} holds other images than earlier trials were trained on; put these "
            "back, or begin another study with hydra.sweeper.study_name=NAME"
        )


def check_run(trial: Trial, made: RunPlan) -> None:
    """Refuse to go on with a trial as another run than it began as.

    Raises:
        LaunchError: the same words make another one by now, which would begin anew.
    """
    if made.run.name != trial.run:
        raise LaunchError(
            f"trial {trial.number}: began as {trial.run}; with the images and the files in configs/ as they "
            f"are now its words make {made.run.name}. Put these back, or begin another study with "
            "hydra.sweeper.study_name=NAME"
        )


def note_of_code(settings: StudySettings, study: Study) -> str:
    """Return what to say where code or configs/ have changed since the first trial; empty if they haven't."""
    runs = [Run(settings.folder.parent / one.run) for one in study.trials() if one.run]
    if not runs or not runs[0].code.exists():
        return ""
    told = (
        ("code has", snapshot.differing(runs[0].code)),
        ("settings have", snapshot.differing_configs(runs[0].code)),
    )
    return "; ".join(
        f"{what} changed since the first trial: {', '.join(names[:3])}"
        + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for what, names in told
        if names
    )


def twin(made: RunPlan, known: Sequence[Trial]) -> Trial | None:
    """Return the trial that is the same run already; None if there is none.

    Args:
        made: a run that is to become a trial.
        known: all trials.
    """
    return next(
        (one for one in known if one.run and signature_in(one.run) == signature_in(made.run.name)), None
    )


def why_not(error: Exception) -> str:
    """Return why values make no run, on one line."""
    return "; ".join((command.explain(error) or str(error)).splitlines())


def _is_shown(word: str) -> bool:
    return not word.startswith("cluster.array_parallelism=")
