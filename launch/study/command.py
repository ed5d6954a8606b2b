"""`-m hydra/sweeper=optuna`: from a command line to a study that is gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from dnw.invocation import RUNS
from launch import dry_run
from launch.compose import Composed
from launch.config import NO_PACK_HERE
from launch.errors import LaunchError
from launch.prepare import RunPlan
from launch.study import record, table, trials
from launch.study import settings as study_settings
from launch.study.driver import Driver
from launch.study.settings import ARRAY, StudySettings

FRONT = "pareto.png"
Start = Callable[[Sequence[RunPlan]], int]


def follow(composed: Composed, start: Start, in_foreground: bool) -> int:
    """Go on with the study that a command line names, or show it.

    Args:
        composed: the run with the first of the values that each setting may take.
        start: submits runs; in the foreground, works on them.
        in_foreground: one trial after the other, here.

    Returns:
        the exit code.

    Raises:
        ConfigError, LaunchError, ShardError: what is typed can't be followed.
    """
    settings = study_settings.read(composed)
    first = trials.first_plan(composed, settings, in_foreground)
    if in_foreground and first.launch.pack is not None:
        raise LaunchError(NO_PACK_HERE)
    for line in _told(settings, in_foreground):
        print(line, flush=True)
    for note in trials.unfit_bounds(settings, in_foreground):
        print(f"note    {note}", flush=True)
    if first.launch.dry_run:
        print("\n# below: the run with the first value of each; its trials differ from it in these")
        if settings.pack > 1:
            print(f"# a job asks for the CPUs and the memory of its trials, up to {settings.pack}")
        print()
        return 0 if dry_run.show([first], in_foreground) else 2
    with record.opened(settings.folder, settings.directions) as study:
        trials.check_same(study, settings)
        if note := trials.note_of_code(settings, study):
            print(f"note    {note}")
        driver = Driver(settings, study, in_foreground, told=note)
        code = driver.run_in_foreground(start) if in_foreground else driver.run_in_background(start)
        table.show(study)
        if code in {0, 1}:
            _draw(settings, study)
    return code


def _told(settings: StudySettings, in_foreground: bool) -> list[str]:
    """Return what to say of a study before it goes on."""
    typed = settings.typed
    looked_for = [f"{name} ({way})" for name, way in zip(typed.objectives, settings.directions, strict=True)]
    lines = [f"study   {settings.folder}", f"looks   for {', '.join(looked_for)}"]
    lines += [f"chooses {key.lstrip('+')}: {values}" for key, values in settings.space.items()]
    each = f" jobs of up to {settings.pack}" if settings.pack > 1 else ""
    at_once = "one after the other" if in_foreground else f"{settings.at_once}{each} at once"
    lines.append(f"trials  {typed.n_trials}, {at_once}, by {typed.sampler} with seed {typed.seed}")
    if in_foreground and settings.is_typed_at_once:
        lines.append(f"note    {ARRAY}: no effect in the foreground")
    elif not in_foreground and not settings.is_typed_at_once:
        lines.append(f"note    {ARRAY}=N lets N work at once; the more do, the less each learns from others")
    lines.append(f"table   {RUNS} study {settings.name}")
    return lines


def _draw(settings: StudySettings, study: record.Study) -> None:
    """Draw the Pareto front into the study's folder, where there is one, and something to draw with."""
    is_done = any(one.values is not None for one in study.trials())
    if len(settings.typed.objectives) > 1 and is_done and find_spec("matplotlib") is not None:
        table.draw(study, settings.folder / FRONT)
