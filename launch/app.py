"""The command line of launch/slurm.py and launch/local.py: what is typed, and what is answered."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dnw.invocation import RUNS, SUBMIT
from dnw.preemption import STOPPED
from dnw.runs import divergence, ledger, lock
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from dnw.runs.goodput import published
from launch import dry_run, existing, prepare, snapshot, start_lock
from launch.cluster.preflight import SubmissionChecks, preflight
from launch.cluster.submission import Submission, submission
from launch.cluster.submit import check_slurm, job, submit
from launch.commands.wait import wait
from launch.compose import compose
from launch.config import FOREGROUND, NO_PACK_HERE, Launch, without_effect
from launch.errors import LaunchError
from launch.node import signals, torchrun
from launch.node.exit_reason import FAILED
from launch.pipeline import predecessors
from launch.prepare import RunPlan
from launch.query.result import read_result
from launch.query.run_status import RunStatus
from launch.scheduler import gres
from launch.self_test import report
from shards import command, terminal

MISUSED = 2  # exit code of a command line that can't be followed


@command.answers(MISUSED)
def main(launch: Callable[[Sequence[RunPlan]], int]) -> int:
    """Follow the command line: compose, check, then `launch`.

    Returns:
        the exit code: that of `launch`, or 2 after one message on stderr, with nothing written.
    """
    found = compose(sys.argv[1:])
    here = launch is foreground or (bool(found) and found[0].in_foreground)
    if found and found[0].study is not None:
        from launch.study import command as study  # noqa: PLC0415  (nothing of it where there is none)

        terminal.go_on_without_output()
        return study.follow(found[0], foreground if here else launch, here)
    ask = functools.cache(gres.node_kinds)  # the runs of a sweep, once
    if not found:
        return 0  # Hydra has answered: --cfg, --info, a completion
    plans = _as_sweep(predecessors.plan_all(found, here, ask))
    terminal.go_on_without_output()
    return foreground(plans) if here else launch(plans)


def background(plans: Sequence[RunPlan]) -> int:
    """launch/slurm.py: hand the runs to the cluster, and say how to follow them."""
    if plans[0].launch.dry_run:
        return 0 if dry_run.show(plans, in_foreground=False) else MISUSED
    ready, code = _startable(plans)
    if ready:
        with start_lock.held(plan.run for plan in ready):
            # again: whoever held the lock before may have started one, which may have diverged since
            ready, found_since = _startable(ready)
            refused = _start(ready)
        code = refused or code or found_since
    waited = wait([plan.run for plan in plans]) if plans[0].launch.wait else 0
    return code or waited


def _startable(plans: Sequence[RunPlan]) -> tuple[list[RunPlan], int]:
    """Return those on which nobody works and which are not done; say of the others how they stand.

    Beside them the exit code for these others: 76 if one has diverged.
    """
    found = existing.find(plans)
    ready = [plan for plan, one in zip(plans, found, strict=True) if _may_start(plan, one)]
    return ready, DIVERGED if any(map(existing.has_diverged, plans, found)) else 0


def _start(ready: Sequence[RunPlan]) -> int:
    """Submit runs on which nobody works; 0, or 2 if one would have waited in vain for another."""
    known = predecessors.query(ready)
    ready, refused = predecessors.waitable(ready, known)
    for line in refused:
        print(line, file=sys.stderr)
    groups = predecessors.alike(ready)
    checks = [_preflight(group) for group in groups]
    told = [*_notes(ready), *dict.fromkeys(note for plan in ready for note in existing.notes(plan))]
    told += predecessors.beyond_limit(groups)
    pack = functools.cache(snapshot.pack)  # the code that all of them keep, once
    for plan in ready:
        _show_checks(plan)
        prepare.write(plan, pack)
    made: dict[Path, Submission] = {}
    for group, its_terms in zip(groups, checks, strict=True):
        waiting = predecessors.with_jobs(its_terms, group, made, known)
        for plan, one in zip(group, submit(group, waiting), strict=True):
            made[plan.run.folder] = one
            _say_submitted(plan.run, one)
            for line in predecessors.describe_wait(plan, made, known):
                print(f"after   {line}")
        for line in (*its_terms.notes, *its_terms.doubts):
            print(f"note    {line}")
    for line in told:
        print(f"note    {line}")
    return MISUSED if refused else 0


def _notes(plans: Sequence[RunPlan]) -> list[str]:
    """Return what to tell of these runs, each line once."""
    return list(dict.fromkeys(note for plan in plans for note in plan.notes))


def _preflight(plans: Sequence[RunPlan]) -> SubmissionChecks:
    """Check whether these runs can be submitted, before anything is written.

    Raises:
        LaunchError: on none.
    """
    launch = plans[0].launch
    if launch.cluster.name == "local":
        _check_port(launch)
        return SubmissionChecks()
    check_slurm()
    checks = preflight(plans)
    if checks.refusal:
        raise LaunchError(checks.refusal)
    return checks


def foreground(plans: Sequence[RunPlan]) -> int:
    """launch/local.py: work on the run here and now, on those of a sweep one after the other.

    Returns:
        the exit code of the attempt, of a sweep that of the first one that isn't 0: it ends there, unless
        that run has diverged, as one may that is to find out which settings do.

    Raises:
        LaunchError: a run wants more than one node.
    """
    for plan in plans:
        if plan.launch.nodes > 1:
            raise LaunchError(f"nodes: this machine is one (got {plan.launch.nodes}); use nproc, or {SUBMIT}")
        if plan.launch.pack is not None:
            raise LaunchError(NO_PACK_HERE)
    if plans[0].launch.dry_run:
        return 0 if dry_run.show(plans, in_foreground=True) else MISUSED
    codes, pack = [], functools.cache(snapshot.pack)  # as in `_start`
    for plan in plans:
        codes.append(_work_on(plan, pack))
        if codes[-1] not in {0, DIVERGED}:
            return codes[-1]
    return max(codes)


def _work_on(plan: RunPlan, pack: prepare.Packs) -> int:
    launch = plan.launch
    ready, code = _startable([plan])
    if not ready:
        return code
    with contextlib.ExitStack() as starting:
        starting.enter_context(start_lock.held([plan.run]))
        ready, code = _startable([plan])
        if not ready:  # whoever held the lock before has started it
            return code
        predecessors.check_done(plan)
        _check_port(launch)
        _show_checks(plan)
        of_code = existing.notes(plan)
        prepare.write(plan, pack)
        if signals.requested():  # of the sweep, when the run before it had nothing left to stop
            print(f"{plan.run.name}: not begun; the same command goes on with it", file=sys.stderr)
            return STOPPED
        made = submission(launch, "foreground", "-", plan.run.slurm, plan.words)
        dataclasses.replace(made, attempts=ledger.next_attempt(plan.run) - 1).write(plan.run)
        for note in (*plan.notes, *_without_effect(plan), *of_code):
            print(f"note {note}")
        print(
            f"run  {_short(plan.run.folder)}   (Ctrl-C saves and stops; the same command goes on)", flush=True
        )
        code = job(plan, foreground=True).run(begun=starting.close)
        if code == FAILED and launch.code == "frozen":
            for note in of_code:  # once more: the error may be mended here
                print(f"{plan.run.name}: {note}", file=sys.stderr)
        return code


def _without_effect(plan: RunPlan) -> list[str]:
    """Return what to say of settings that were typed for a cluster, which the foreground isn't."""
    keys = without_effect(plan.words, FOREGROUND)
    return [f"{', '.join(keys)}: no effect in the foreground"] if keys else []


def _check_port(launch: Launch) -> None:
    if launch.port is not None:
        torchrun.check_port(launch.port)


def _as_sweep(plans: Sequence[RunPlan]) -> list[RunPlan]:
    """Return the runs with the name of their sweep, if they are several: the same when it is typed again.

    Raises:
        LaunchError: a run comes up more than once.
    """
    folders = [plan.run.folder for plan in plans]
    for folder in folders:
        if folders.count(folder) > 1:
            raise LaunchError(_repeated([plan for plan in plans if plan.run.folder == folder]))
    if len(plans) == 1:
        return list(plans)
    digest = hashlib.sha256("\n".join(sorted(folder.name for folder in folders)).encode()).hexdigest()
    name = f"{plans[0].train.exp}-sweep-{digest[:8]}"
    return [dataclasses.replace(plan, sweep=name) for plan in plans]


def _repeated(plans: Sequence[RunPlan]) -> str:
    """Return what to say of a run that comes up more than once in a sweep, as a setting changes no result."""
    one, other = (plan.words for plan in plans[:2])
    only_in = [
        " ".join(word for word in these if word not in those) for these, those in ((one, other), (other, one))
    ]
    differing = f", with {only_in[0]} as with {only_in[1]}" if all(only_in) else ""
    folder = plans[0].run.folder
    return (
        f"-m: {folder.parent.name}/{folder.name} comes up more than once in this sweep{differing}; leave out "
        "all but one of these values"
    )


def _may_start(plan: RunPlan, found: RunStatus | None) -> bool:
    """Whether nothing is done, running or queued already; says what is.

    Raises:
        LaunchError: what is asked for can't be done with the run that is there.
    """
    existing.check(plan, found)
    if found is None:
        return True
    if existing.is_at_work(found):
        print(f"{plan.run.name}: {found.state}, {found.who}")
        _show_checks(plan)
        if found.submission is not None and found.submission.job != "-":
            _say_following(plan.run, found.submission)
        return False
    if found.is_finished and not plan.launch.fresh:
        _say_result(plan)
        return False
    if existing.has_diverged(plan, found):
        print(divergence.message(plan.run, found.attempts[-1]), file=sys.stderr)
        if plan.launch.code == "new":
            print("  code=new needs resume_diverged=true beside it, to go on from there", file=sys.stderr)
        return False
    return True


def _show_checks(plan: RunPlan) -> None:
    """Print what a self-test has found so far."""
    if plan.launch.self_test is not None:
        report.show(plan.run)


def _say_submitted(run: Run, one: Submission) -> None:
    print(f"run     {_short(run.folder)}")
    print(f"job     {one.job} ({one.cluster})")
    _say_following(run, one)


def _say_following(run: Run, one: Submission) -> None:
    attempt = (lock.holder(run.lock) or {}).get("attempt", ledger.next_attempt(run))
    print(f"log     tail -F {_short(run.log(attempt, 0))}")
    print(f"curves  {RUNS} tensorboard {_short(run.folder)}")
    stop = f"{RUNS} cancel {_short(run.folder)}" if one.pack else one.stop_command
    print(f"stop    {stop}      (saves first; run the submit command again to resume)")


def _say_result(plan: RunPlan) -> None:
    run = plan.run
    print(f"{run.name}: finished")
    if plan.launch.self_test is not None:
        _show_checks(plan)
        return
    result = read_result(run) or {}
    spent = published(result)
    if spent is not None and spent.share is not None:
        result["goodput"] = f"{spent.share:.0%}"
    if changes := result.pop("code_changes", None):
        result["other code"] = "; ".join(
            f"attempt {one['attempt']}, after step {one['step']}" for one in changes
        )
    for key, value in result.items():
        print(f"  {key:12}  {value}")


def _short(path: Path) -> str:
    """Relative to here where that is shorter to type."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
