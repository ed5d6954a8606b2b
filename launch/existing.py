"""A run that is there already: how it stands, and whether it may go on as what it was frozen as."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from launch import frozen_config, snapshot
from launch.cluster import sbatch
from launch.cluster.submission import newest
from launch.errors import LaunchError
from launch.prepare import RunPlan
from launch.query.run_status import RunStatus, query_status

LISTED = 3  # files or settings in a message


def find(plans: Sequence[RunPlan]) -> list[RunStatus | None]:
    """How the runs stand that are there already, asked for all at once; None for a new one.

    Raises:
        LaunchError: Slurm doesn't tell whether a job of one still works on it, or its records are damaged.
    """
    there = [plan.run for plan in plans if plan.run.folder.exists()]
    anew = {plan.run.folder for plan in plans if plan.launch.fresh}
    found, notes = query_status(there)
    for one in found:
        if one.is_unknown and one.submission is not None:
            raise LaunchError(
                f"{one.run.name}: {notes[0].partition(';')[0]}, so nobody knows whether job "
                f"{one.submission.job} still works on it. Type this where Slurm answers; if that job is "
                f"gone for good, delete {one.run.launch}"
            )
        if one.state == "unreadable" and one.run.folder not in anew:
            raise LaunchError(one.problems[0])
    for one in found:
        _note_job(one)
    states = {one.run.folder: one for one in found}
    return [states.get(plan.run.folder) for plan in plans]


def _note_job(found: RunStatus) -> None:
    """Note which job a submission has become, if that was not known before."""
    last = newest(found.run) if found.submission is not None and found.submission.is_known else None
    if last is not None and not last.is_known and found.submission is not None:
        sbatch.name_pickles(Path(last.folder), found.submission.job)
        found.submission.write(found.run)


def is_at_work(found: RunStatus) -> bool:
    """Whether someone works on a run, or is going to; not where that is only guessed from its files."""
    return found.is_surely_at_work


def has_diverged(plan: RunPlan, found: RunStatus | None) -> bool:
    """Whether a run has diverged, and isn't to begin anew or to go on all the same."""
    is_asked_for = plan.launch.fresh or plan.launch.resume_diverged
    return found is not None and found.state == "diverged" and not is_asked_for


def check(plan: RunPlan, found: RunStatus | None) -> None:
    """Refuse what can't be done with a run that is there.

    Raises:
        LaunchError: it shall start afresh, or take other code, while it is at work; its code or its
            configuration is not what was frozen; or its code is of a version that this one can't start.
    """
    if found is None:
        return
    launch = plan.launch
    if is_at_work(found):
        for word in [
            name for name, is_set in (("fresh", launch.fresh), ("code", launch.code == "new")) if is_set
        ]:
            raise LaunchError(f"{word}: {plan.run.name} is {found.state} ({found.who}); stop it first")
        return
    if launch.fresh:
        return
    if found.is_finished:
        if launch.code == "new":
            raise LaunchError(
                f"code: {plan.run.name} is finished, so no step is left for other code; fresh=true begins "
                "anew with the present code"
            )
        return
    if launch.code != "new":
        _check_layout(plan)
        _check_code(plan)
    _check_config(plan)


def notes(plan: RunPlan) -> list[str]:
    """Return what to tell of the code of a run that goes on, which an error may have been mended in since."""
    if plan.launch.fresh or not plan.run.code.exists():
        return []
    differing = snapshot.differing(plan.run.code)
    if plan.launch.code == "new":
        return [f"code=new: takes over what differs here: {_listed(differing) or 'nothing'}"]
    if not differing:
        return []
    return [
        f"goes on with the code that it was submitted with; here differ {_listed(differing)}: code=new takes "
        "over the present code, fresh=true begins anew with it"
    ]


def _check_layout(plan: RunPlan) -> None:
    """Refuse a run whose code has its modules elsewhere: this launcher can't start them."""
    launcher = plan.run.code / "launch"
    if launcher.is_dir() and not (launcher / "node" / "agent.py").is_file():
        script = launcher / Path(sys.argv[0]).name
        raise LaunchError(
            f"{plan.run.name}: keeps the code that it began with, of an earlier version, which this one "
            f"can't start. Type the same words after `python {shlex.quote(str(script))}` to go on, or "
            "fresh=true to begin anew"
        )


def _check_code(plan: RunPlan) -> None:
    if changed := snapshot.changed(plan.run.code):
        raise LaunchError(
            f"{plan.run.code}: not what was frozen there: {_listed(changed)}. Put it back, or type code=new "
            "to go on with the present code, or fresh=true to begin anew"
        )


def _check_config(plan: RunPlan) -> None:
    if edited := frozen_config.edited(plan.run.config, plan.train):
        told = [f"{key} is {there!r} there, {typed!r} as typed" for key, (there, typed) in edited.items()]
        raise LaunchError(
            f"{plan.run.config}: edited by hand: {_listed(told)}. Settings are typed: put these back there, "
            "and type others (of another result: another run); or fresh=true to begin anew"
        )


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return ", ".join([*names[:LISTED], *more])
