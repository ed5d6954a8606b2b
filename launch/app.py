"""The command line of launch/slurm.py and launch/local.py: what is typed, and what is answered."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from dnw import config
from dnw.invocation import RUNS, SUBMIT
from dnw.runs import divergence, ledger, lock
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from dnw.runs.goodput import published
from launch import grace_period, prepare, start_lock
from launch.cluster.preflight import SubmissionChecks, preflight
from launch.cluster.submission import Submission, submission
from launch.cluster.submit import check_slurm, job, script, submit, trial
from launch.commands.wait import wait
from launch.compose import compose
from launch.config import Launch
from launch.errors import LaunchError
from launch.node import torchrun
from launch.node.topology import LOOPBACK, Node
from launch.prepare import RunPlan
from launch.query.result import read_result
from launch.query.run_status import RunStatus, query_status
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
    plans = [prepare.plan(composed) for composed in found]
    if not plans:
        return 0  # Hydra has answered: --cfg, --info, a completion
    _check_sweep(plans)
    terminal.go_on_without_output()
    return foreground(plans) if found[0].in_foreground else launch(plans)


def background(plans: Sequence[RunPlan]) -> int:
    """launch/slurm.py: hand the runs to the cluster, and say how to follow them."""
    if plans[0].launch.dry_run:
        _show(plans)
        return 0
    ready, code = _startable(plans)
    if ready:
        with start_lock.held(plan.run for plan in ready):
            _start(_startable(ready)[0])  # again: whoever held the lock before may have started one
    waited = wait([plan.run for plan in plans]) if plans[0].launch.wait else 0
    return code or waited


def _startable(plans: Sequence[RunPlan]) -> tuple[list[RunPlan], int]:
    """Return those on which nobody works and which are not done; say of the others how they stand.

    Beside them the exit code for these others: 76 if one has diverged.
    """
    found = _found(plans)
    ready = [plan for plan, one in zip(plans, found, strict=True) if _may_start(plan, one)]
    return ready, DIVERGED if any(map(_has_diverged, plans, found)) else 0


def _start(ready: Sequence[RunPlan]) -> None:
    """Submit runs on which nobody works."""
    groups = _alike(ready)
    checks = [_preflight(group) for group in groups]
    for plan in ready:
        _show_checks(plan)
        prepare.write(plan)
    for group, its_terms in zip(groups, checks, strict=True):
        for plan, one in zip(group, submit(group, its_terms), strict=True):
            _say_submitted(plan.run, one)
        for line in (*its_terms.notes, *its_terms.doubts, *_notes(group)):
            print(f"note    {line}")


def _notes(plans: Sequence[RunPlan]) -> list[str]:
    """Return what to tell of these runs, each line once."""
    return list(dict.fromkeys(note for plan in plans for note in plan.notes))


def _alike(plans: Sequence[RunPlan]) -> list[list[RunPlan]]:
    """Those that follow each other and are launched in the same way, together."""
    return [list(alike) for _, alike in groupby(plans, key=lambda plan: plan.launch)]


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
    """
    for plan in plans:
        if plan.launch.nodes > 1:
            raise LaunchError(f"nodes: this machine is one (got {plan.launch.nodes}); use nproc, or {SUBMIT}")
    codes = []
    for plan in plans:
        codes.append(_work_on(plan))
        if codes[-1] not in {0, DIVERGED}:
            return codes[-1]
    return max(codes)


def _work_on(plan: RunPlan) -> int:
    launch = plan.launch
    if launch.dry_run:
        _show_frozen(plan)
        _show_command(plan)
        return 0
    ready, code = _startable([plan])
    if not ready:
        return code
    with contextlib.ExitStack() as starting:
        starting.enter_context(start_lock.held([plan.run]))
        if not _startable([plan])[0]:  # whoever held the lock before has started it
            return 0
        _check_port(launch)
        _show_checks(plan)
        prepare.write(plan)
        submission(launch, "foreground", "-", plan.run.slurm, plan.words).write(plan.run)
        for note in plan.notes:
            print(f"note {note}")
        print(
            f"run  {_short(plan.run.folder)}   (Ctrl-C saves and stops; the same command goes on)", flush=True
        )
        return job(plan, foreground=True).run(begun=starting.close)


def _check_port(launch: Launch) -> None:
    if launch.port is not None:
        torchrun.check_port(launch.port)


def _check_sweep(plans: Sequence[RunPlan]) -> None:
    folders = [plan.run.folder for plan in plans]
    for folder in folders:
        if folders.count(folder) > 1:
            raise LaunchError(f"-m: {folder.parent.name}/{folder.name} comes up more than once in this sweep")


def _found(plans: Sequence[RunPlan]) -> list[RunStatus | None]:
    """How the runs stand that are there already, asked for all at once; None for a new one.

    Raises:
        LaunchError: Slurm doesn't tell whether a job of one still works on it, or its records are damaged.
    """
    there = [plan.run for plan in plans if plan.run.folder.exists()]
    anew = {plan.run.folder for plan in plans if plan.launch.fresh}
    found, notes = query_status(there)
    for one in found:
        if one.is_out_of_sight and one.is_at_work and not one.is_held and one.submission is not None:
            if one.submission.cluster == "slurm":
                raise LaunchError(
                    f"{one.run.name}: {notes[0].partition(';')[0]}, so nobody knows whether job "
                    f"{one.submission.job} still works on it. Type this where Slurm answers; if that job is "
                    f"gone for good, delete {one.run.launch}"
                )
        elif one.state == "unreadable" and one.run.folder not in anew:
            raise LaunchError(one.problems[0])
    states = {one.run.folder: one for one in found}
    return [states.get(plan.run.folder) for plan in plans]


def _may_start(plan: RunPlan, found: RunStatus | None) -> bool:
    """Whether nothing is done, running or queued already; says what is.

    Raises:
        LaunchError: it shall start afresh while it runs.
    """
    if found is None:
        return True
    if found.is_at_work and not (found.is_out_of_sight and not found.is_held):
        if plan.launch.fresh:
            raise LaunchError(f"fresh: {plan.run.name} is {found.state} ({found.who}); stop it first")
        print(f"{plan.run.name}: {found.state}, {found.who}")
        _show_checks(plan)
        if found.submission is not None and found.submission.job != "-":
            _say_following(plan.run, found.submission)
        return False
    if found.is_finished and not plan.launch.fresh:
        _say_result(plan)
        return False
    if _has_diverged(plan, found):
        print(divergence.message(plan.run, found.attempts[-1]), file=sys.stderr)
        return False
    if not plan.launch.fresh:
        _check_code(plan)
    return True


def _has_diverged(plan: RunPlan, found: RunStatus | None) -> bool:
    """Whether a run has diverged, and isn't to begin anew or to go on all the same."""
    is_asked_for = plan.launch.fresh or plan.launch.resume_diverged
    return found is not None and found.state == "diverged" and not is_asked_for


def _check_code(plan: RunPlan) -> None:
    """Refuse to go on with a run whose code has its modules elsewhere: this launcher can't start them.

    Raises:
        LaunchError: with the command that can, the run's own.
    """
    launcher = plan.run.code / "launch"
    if launcher.is_dir() and not (launcher / "node" / "agent.py").is_file():
        script = launcher / Path(sys.argv[0]).name
        raise LaunchError(
            f"{plan.run.name}: keeps the code that it began with, of an earlier version, which this one "
            f"can't start. Type the same words after `python {shlex.quote(str(script))}` to go on, or "
            "fresh=true to begin anew"
        )


def _show_checks(plan: RunPlan) -> None:
    """Print what a self-test has found so far."""
    if plan.launch.self_test is not None:
        report.show(plan.run)


def _show(plans: Sequence[RunPlan]) -> None:
    for plan in plans:
        _show_frozen(plan)
    if plans[0].launch.cluster.name == "slurm":
        for group in _alike(plans):
            _show_submission(group)
    else:
        for plan in plans:
            _show_command(plan)


def _show_submission(plans: Sequence[RunPlan]) -> None:
    """Print the script, and what Slurm says of it, where there is one."""
    checks = preflight(plans)
    stopping = [f"stopping takes up to {need}" for need in dict.fromkeys(plan.need for plan in plans) if need]
    grants = checks.grants
    granted = [f"after the TERM of a preemption: {grace_period.granted(grants)}"] if grants else []
    answer = _answer(plans, checks)
    print(f"# sbatch script\n{script(plans, checks)}")
    for line in (*stopping, *granted, *checks.notes, *checks.doubts, answer):
        print(f"# {line}")


def _answer(plans: Sequence[RunPlan], checks: SubmissionChecks) -> str:
    if shutil.which("sbatch") is None:
        return "no sbatch here: Slurm was not asked"
    accepted, words = trial(plans, checks)
    if accepted and checks.refusal is None:
        return f"sbatch --test-only: {words}"
    return f"REFUSED: {words if checks.refusal is None else checks.refusal}"


def _show_frozen(plan: RunPlan) -> None:
    (found,) = _found([plan])
    told = "new" if found is None else ", ".join(filter(None, [found.state, found.who]))
    print(f"# run folder: {told}\n{plan.run.folder}\n")
    for note in plan.notes:
        print(f"# {note}\n")
    print(f"# frozen configuration\n{config.dump(plan.train)}")


def _show_command(plan: RunPlan) -> None:
    words = job(plan).command(Node(0, 1, LOOPBACK, LOOPBACK, "JOB", 0, (LOOPBACK,)), attempt=1, port=0)
    print(f"# torchrun, as launch/node/agent.py runs it\nPYTHONPATH={plan.run.code} {shlex.join(words)}")


def _say_submitted(run: Run, one: Submission) -> None:
    print(f"run     {_short(run.folder)}")
    print(f"job     {one.job} ({one.cluster})")
    _say_following(run, one)


def _say_following(run: Run, one: Submission) -> None:
    attempt = (lock.holder(run.lock) or {}).get("attempt", ledger.next_attempt(run))
    print(f"log     tail -F {_short(run.log(attempt, 0))}")
    print(f"curves  {RUNS} tensorboard {_short(run.folder)}")
    print(f"stop    {one.stop_command}      (saves first; run the submit command again to resume)")


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
    for key, value in result.items():
        print(f"  {key:12}  {value}")


def _short(path: Path) -> str:
    """Relative to here where that is shorter to type."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
