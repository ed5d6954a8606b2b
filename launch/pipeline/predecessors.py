"""Runs that begin once others are done: which these are, and in which order all of them are submitted.

A run follows the one that it begins with (wiring.source), and those that after= names. Both may be of the
same command line, in any order, or of an earlier one. What is done already is waited for no more; what nobody
works on would be waited for in vain, and is refused here. How a job waits: launch/pipeline/gate.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path

from dnw.config import FROM_A_RUN
from dnw.invocation import SUBMIT
from dnw.runs import frozen_code, source_run
from dnw.runs.folder import Run, finished
from launch import prepare
from launch.cluster.gated import GATE
from launch.cluster.lanes import packs
from launch.cluster.preflight import SubmissionChecks
from launch.cluster.submission import Submission
from launch.compose import Composed
from launch.errors import LaunchError
from launch.gpu_request import Asks
from launch.node.notices.channels import channels
from launch.node.tracking import followed
from launch.pack.pack import CHILD
from launch.pipeline.outcome import describe, job_of
from launch.prepare import RunPlan
from launch.query import select
from launch.query.run_status import RunStatus, query_status

Statuses = Mapping[Path, RunStatus]  # by folder


def plan_all(found: Sequence[Composed], in_foreground: bool, ask: Asks) -> list[RunPlan]:
    """Plan the runs of a command line, each after those that it follows.

    Args:
        found: what was typed.
        in_foreground: they are to run here and now.
        ask: tells which kinds of nodes Slurm has.

    Raises:
        LaunchError: a run follows itself, or one on which nobody works.
        ConfigError, ShardError: as prepare.plan.
    """
    plans: dict[int, RunPlan] = {}
    for place in sorted(range(len(found)), key=lambda place: _begins_with_a_run(found[place])):
        one = found[place]
        planned = _sources(one, list(plans.values())) if _begins_with_a_run(one) else None
        plans[place] = prepare.plan(one, in_foreground, ask, planned)
    return _linked([plans[place] for place in range(len(found))], in_foreground)


def alike(plans: Sequence[RunPlan]) -> list[list[RunPlan]]:
    """Return plans by submission: what stands together, is launched in the same way and waits for the same.

    Runs that share a job need not: the job waits for what any of them does, and for none of its own.
    """
    jobs = [job for stage in _stages(plans) for job in packs(stage)]
    together = groupby(jobs, key=lambda job: (job[0].launch, frozenset(_waited(job))))
    return [[plan for job in group for plan in job] for _, group in together]


def _stages(plans: Sequence[RunPlan]) -> list[list[RunPlan]]:
    """Divide plans where a job may not have those on both sides: one waits, or for another one of them."""
    found: list[list[RunPlan]] = []
    for plan in plans:
        last = found[-1] if found else []
        may_share = last and plan.launch == last[0].launch and bool(plan.follows) == bool(last[0].follows)
        if may_share and not {one.run for one in last} & set(plan.follows):
            last.append(plan)
        else:
            found.append([plan])
    return found


def _waited(plans: Sequence[RunPlan]) -> list[Run]:
    """Return the runs that any of these plans waits for, each once."""
    return list(dict.fromkeys(run for plan in plans for run in plan.follows))


def query(plans: Sequence[RunPlan]) -> Statuses:
    """Return how the runs stand that plans follow, but for those that are plans themselves."""
    ours = {plan.run.folder for plan in plans}
    others = dict.fromkeys(run for plan in plans for run in plan.follows if run.folder not in ours)
    return {one.run.folder: one for one in query_status(list(others))[0]} if others else {}


def waitable(plans: Sequence[RunPlan], known: Statuses) -> tuple[list[RunPlan], list[str]]:
    """Return the plans that don't wait in vain, and of the others why they would.

    Args:
        plans: each behind those that it follows.
        known: how the runs stand that they follow, but for those that are plans themselves.
    """
    kept: dict[Path, RunPlan] = {}
    refused = {}
    for plan in plans:
        try:
            _check_code(plan)
            for run in plan.follows:
                if run.folder in refused:
                    raise LaunchError(f"it waits for {run.name}")
                if run.folder in known and not known[run.folder].is_finished:
                    _check_waitable(known[run.folder], plan)
            kept[plan.run.folder] = plan
        except LaunchError as error:
            refused[plan.run.folder] = f"{plan.run.name}: not submitted: {error}"
    return list(kept.values()), list(refused.values())


def shown(checks: SubmissionChecks, plans: Sequence[RunPlan], known: Statuses) -> SubmissionChecks:
    """Return checks for a dry run: with the jobs that there are already.

    Args:
        checks: without.
        plans: that are shown, one submission.
        known: how the runs stand that they follow.
    """
    after = tuple(_waited(plans))
    jobs = [job_of(known[run.folder]) for run in after if run.folder in known]
    return dataclasses.replace(checks, after=after, jobs=tuple(dict.fromkeys(filter(None, jobs))))


def with_jobs(
    checks: SubmissionChecks,
    plans: Sequence[RunPlan],
    made: Mapping[Path, Submission],
    known: Statuses,
) -> SubmissionChecks:
    """Return checks of runs that are submitted together, with what they wait for.

    Args:
        checks: without.
        plans: these.
        made: what was submitted for this command line so far, by run folder.
        known: how other runs stand.

    """
    waited = _waited(plans)
    open_ones = [run for run in waited if run.folder in made or not known[run.folder].is_finished]
    if plans[0].launch.cluster.name != "slurm":
        return dataclasses.replace(checks, after=tuple(open_ones))
    jobs = [made[one.folder].job if one.folder in made else job_of(known[one.folder]) for one in open_ones]
    return dataclasses.replace(checks, after=tuple(open_ones), jobs=tuple(dict.fromkeys(filter(None, jobs))))


def beyond_limit(groups: Sequence[Sequence[RunPlan]]) -> list[str]:
    """Return what to say of a limit of runs at a time, which Slurm has for each array, and for no more.

    Args:
        groups: of runs that are submitted together, each a job or an array.
    """
    plans = [plan for group in groups for plan in group]
    if not any(plan.follows for plan in plans) or plans[0].launch.cluster.name != "slurm":
        return []
    limit = plans[0].launch.cluster.array_parallelism
    said = f"array_parallelism={limit} holds for each stage: what waits for others begins once they are done"
    return [said] if limit < sum(len(packs(group)) for group in groups) else []


def check_done(plan: RunPlan) -> None:
    """Refuse a run that is to begin here and now, while one that it follows isn't done.

    Raises:
        LaunchError: says how that one stands.
    """
    for run in plan.follows:
        if not run.result.exists():
            (one,), _ = query_status([run])
            raise LaunchError(f"{plan.run.name}: not begun: {describe(one)}")


def describe_wait(plan: RunPlan, made: Mapping[Path, Submission], known: Statuses) -> Iterator[str]:
    """Yield what to say of each run that a plan waits for.

    Args:
        plan: that waits.
        made: what was submitted for this command line so far, by run folder.
        known: how other runs stand.
    """
    for run in plan.follows:
        if run.folder in made:
            yield f"{run.name} (job {made[run.folder].job} on {made[run.folder].cluster})"
        elif run.folder in known:
            yield describe(known[run.folder])
        else:
            yield f"{run.name}, of this line"


def _begins_with_a_run(composed: Composed) -> bool:
    wiring = composed.values.get("wiring")
    return isinstance(wiring, dict) and wiring.get("name") in FROM_A_RUN


def _sources(composed: Composed, plans: Sequence[RunPlan]) -> source_run.Configs:
    """Return the runs of this line that one may begin with: of the same words, if there are such."""
    words = _without_exp(composed.overrides)
    known = [plan for plan in plans if not plan.missing and not plan.to_fetch]
    same = [plan for plan in known if _without_exp(plan.words) == words]
    return {plan.run.folder: plan.train for plan in (same or known)}


def _without_exp(words: Sequence[str]) -> list[str]:
    return sorted(word for word in words if word.lstrip("+").partition("=")[0] != "exp")


def _linked(plans: Sequence[RunPlan], in_foreground: bool) -> list[RunPlan]:
    """Return plans with the runs that they follow, each behind those of them that are plans."""
    before = {plan.run.folder: list(_before(plan, plans)) for plan in plans}
    others = dict.fromkeys(run for runs in before.values() for run in runs if run.folder not in before)
    if not any(before.values()):
        return list(plans)
    known = {one.run.folder: one for one in query_status(list(others))[0]} if others else {}
    linked = []
    for plan in plans:
        _check_circle(plan.run, before, known)
        follows = [run for run in before[plan.run.folder] if not _is_done(run, plans, known)]
        refused = list(_refusals(plan, before[plan.run.folder], known, in_foreground))
        if refused and not plan.launch.dry_run:
            raise LaunchError(refused[0])
        linked.append(dataclasses.replace(plan, follows=tuple(follows), refused=(*plan.refused, *refused)))
    depth = {plan.run.folder: _depth(plan.run, before) for plan in plans}
    return sorted(linked, key=lambda plan: depth[plan.run.folder])


def _before(plan: RunPlan, plans: Sequence[RunPlan]) -> Iterator[Run]:
    """Yield the runs that a plan follows, done or not."""
    if plan.train.wiring.name in FROM_A_RUN and plan.train.wiring.source_signature:
        yield Run(Path(plan.train.wiring.source))
    if not plan.launch.after:
        return
    runs_dir = plan.launch.runs_dir
    there = select.below(runs_dir) if runs_dir.is_dir() else []
    runs = {run.name: run for run in (*there, *(one.run for one in plans))}
    for word in plan.launch.after:
        yield from _named(word, plan, runs)


def _named(word: str, plan: RunPlan, runs: Mapping[str, Run]) -> list[Run]:
    """Return the runs that a word of after= means."""
    path = Path(word).expanduser().absolute()
    if not any(letter in word for letter in "*?["):
        given = {run.folder: run for run in runs.values()}
        if path in given:
            return [given[path]]
        if select.is_run(path):
            return [Run(path)]
        others = {name: run for name, run in runs.items() if run != plan.run}
        try:
            return [select.by_name(word, others, plan.launch.runs_dir)]
        except LaunchError as error:
            if word in plan.run.name and not any(word in name for name in others):
                return [plan.run]
            raise LaunchError(f"after: {error}") from None
    found = [
        run for run in runs.values()
        if run != plan.run and (fnmatchcase(run.name, word) or fnmatchcase(str(run.folder), str(path)))
    ]  # fmt: skip
    if not found:
        raise LaunchError(f"after: {word}: fits no run below {plan.launch.runs_dir}")
    return found


def _is_done(run: Run, plans: Sequence[RunPlan], known: Statuses) -> bool:
    if run.folder in known:
        return known[run.folder].is_finished
    plan = next(plan for plan in plans if plan.run.folder == run.folder)
    return run.result.exists() and not plan.launch.fresh


def _refusals(plan: RunPlan, before: Sequence[Run], known: Statuses, in_foreground: bool) -> Iterator[str]:
    """Yield why a plan can't follow runs of earlier command lines."""
    for one in (known[run.folder] for run in before if run.folder in known):
        if one.is_finished:
            if _is_source(one.run, plan) and not finished(one.run):  # its weights are gone
                yield source_run.unfinished(one.run)
            continue
        try:
            _check_waitable(one, plan, in_foreground)
        except LaunchError as error:
            yield str(error)


def _check_code(plan: RunPlan) -> None:
    """Refuse what a run's own code, of an earlier version, can't do. Raises LaunchError."""
    if plan.launch.fresh or plan.launch.code == "new" or not plan.run.code.exists():
        return
    needed = {GATE: "wait for other runs"} if plan.follows else {}
    if plan.launch.pack is not None:
        needed[CHILD] = "share a job with others"
    if channels(plan.launch.notify) is not None:
        needed[channels.__module__] = "send mail or messages; take notify.command"
    if followed(plan.train):
        needed["dnw.tracking.follow"] = "feed trackers"
    files = frozen_code.read_record(plan.run.code).get("files", {})
    for module, what in needed.items():
        if f"{module.replace('.', '/')}.py" not in files:
            raise LaunchError(
                f"it keeps the code that it began with, of an earlier version, which can't {what}; "
                "leave that out, or type this again with code=new"
            )


def _is_source(run: Run, plan: RunPlan) -> bool:
    return plan.train.wiring.name in FROM_A_RUN and run.folder == Path(plan.train.wiring.source)


def _check_waitable(one: RunStatus, plan: RunPlan, in_foreground: bool = False) -> None:
    """Refuse a run on which nobody works, or none for which a job could wait.

    Raises:
        LaunchError: says how it stands, and what to do.
    """
    is_source = _is_source(one.run, plan)
    key = "wiring.source" if is_source else "after"
    if not one.is_surely_at_work:
        if is_source and one.state != "queued" and not one.is_unknown:
            raise LaunchError(source_run.unfinished(one.run))
        remedy = (
            "type this where Slurm answers" if one.is_unknown else "type its command again, then this one"
        )
        raise LaunchError(f"{key}: {describe(one)}; {remedy}")
    if in_foreground:
        raise LaunchError(
            f"{key}: {describe(one)}; type this again once it is done, or submit it, which waits: {SUBMIT}"
        )
    if plan.launch.cluster.name == "slurm" and job_of(one) is None:
        raise LaunchError(
            f"{key}: {describe(one)}, no job of Slurm's that another could wait for; type this again once it "
            "is done, or with cluster=local, which waits"
        )


def _check_circle(run: Run, before: Mapping[Path, Sequence[Run]], known: Statuses) -> None:
    """Refuse a run that would wait for itself. Raises LaunchError."""
    ways = [[run]]
    seen: set[Path] = set()
    while ways:
        way = ways.pop()
        for one in _waited_for(way[-1], before, known):
            if one.folder == run.folder:
                told = ", which waits for ".join(step.name for step in (*way[1:], run))
                raise LaunchError(f"after: {run.name} would wait for {told}; leave one of them out")
            if one.folder not in seen:
                seen.add(one.folder)
                ways.append([*way, one])


def _waited_for(run: Run, before: Mapping[Path, Sequence[Run]], known: Statuses) -> list[Run]:
    """Return the runs that one waits for: as typed now, or as noted when it was submitted."""
    if run.folder in before:
        return list(before[run.folder])
    one = known.get(run.folder) or query_status([run])[0][0]
    is_waiting = one.is_at_work and one.submission is not None
    return [Run(Path(folder)) for folder in one.submission.after] if is_waiting and one.submission else []


def _depth(run: Run, before: Mapping[Path, Sequence[Run]]) -> int:
    """Return how many runs of this line, at most, come one after the other before a run."""
    ours = [one for one in before.get(run.folder, ()) if one.folder in before]
    return 1 + max((_depth(one, before) for one in ours), default=-1)
