"""dry_run=true: show what would be submitted, and what keeps it from going through; write nothing."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from dnw import config
from dnw.runs import divergence
from launch import existing, grace_period, snapshot
from launch.cluster.preflight import preflight
from launch.cluster.submit import job, script, trial
from launch.node import torchrun
from launch.node.container import NAMES, SCRIPT, outside_paths
from launch.node.topology import LOOPBACK, Node
from launch.pipeline import predecessors
from launch.pipeline.predecessors import Statuses, alike
from launch.prepare import RunPlan
from launch.self_test.series import Series
from shards.errors import ExpectedError


def show(plans: Sequence[RunPlan], in_foreground: bool) -> bool:
    """Print run folder, configuration and sbatch script, or torchrun's command line, of each run.

    Returns:
        whether the line would go through without dry_run=true, as far as can be told here: a machine without
        Slurm leaves open what Slurm would say.
    """
    known = predecessors.query(plans)
    refusals = [refusal for plan in plans for refusal in _show_frozen(plan, known)]
    if plans[0].launch.cluster.name == "slurm" and not in_foreground:
        refusals += [refusal for group in alike(plans) for refusal in _show_submission(group, known)]
    else:
        for plan in plans:
            _show_command(plan)
    for refusal in dict.fromkeys(refusals):
        print("# REFUSED: " + refusal.replace("\n", "\n# "))
    return not refusals


def _show_frozen(plan: RunPlan, known: Statuses) -> list[str]:
    """Print what would be frozen; what the run would be refused for."""
    refusals = [*plan.missing, *plan.refused]
    try:
        (found,) = existing.find([plan])
        told = "new" if found is None else ", ".join(filter(None, [found.state, found.who]))
        existing.check(plan, found)
        if found is not None and existing.has_diverged(plan, found):
            refusals.append(divergence.message(plan.run, found.attempts[-1]))
        if found is None or plan.launch.fresh or plan.launch.code == "new":
            snapshot.check(outside=plan.outside)
        if plan.launch.port is not None and (found is None or not existing.is_at_work(found)):
            torchrun.check_port(plan.launch.port)
    except ExpectedError as error:
        told = "refused"
        refusals.append(str(error))
    told = "named once its weights are fetched" if plan.to_fetch else told
    told = "named once its images are known" if plan.missing else told
    print(f"# run folder: {told}\n{plan.run.folder}\n")
    for note in (*plan.to_fetch, *plan.notes):
        print(f"# {note}\n")
    for line in predecessors.describe_wait(plan, {}, known):
        print(f"# after {line}\n")
    if plan.launch.environment:
        print(f"# variables of the processes\n{_assignments(plan)}\n")
    print(f"# frozen configuration\n{config.dump_for_people(plan.train)}")
    return refusals


def _show_submission(plans: Sequence[RunPlan], known: Statuses) -> list[str]:
    """Print the script, and what Slurm says of it, where there is one; why Slurm would not take it."""
    checks = predecessors.shown(preflight(plans), plans, known)
    stopping = [f"stopping takes up to {need}" for need in dict.fromkeys(plan.need for plan in plans) if need]
    grants = checks.grants
    granted = [f"after the TERM of a preemption: {grace_period.granted(grants)}"] if grants else []
    print(f"# sbatch script\n{script(plans, checks)}")
    if plans[0].launch.cluster.container is not None:
        _show_command(plans[0])
    for line in (*stopping, *granted, *checks.notes, *checks.doubts):
        print(f"# {line}")
    if shutil.which("sbatch") is None:
        print("# no sbatch here: Slurm was not asked")
        return []
    accepted, words = trial(plans, checks)
    if accepted and checks.refusal is None:
        print(f"# sbatch --test-only: {words}")
        return []
    return [words if checks.refusal is None else checks.refusal]


def _assignments(plan: RunPlan) -> str:
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in plan.launch.environment.items())


def _show_command(plan: RunPlan) -> None:
    """Print what runs on a node, and in what container."""
    made = job(plan)
    container = made.job.container if isinstance(made, Series) else made.container
    if container is not None:
        scratch, folders = Path("SCRATCH"), [plan.launch.runs_dir, *outside_paths(plan.train)]
        bound = [*(one for one in folders if not any(other in one.parents for other in folders)), scratch]
        given = (NAMES[container.runtime][0], scratch / SCRIPT, bound, bool(plan.launch.gpus), "NODE")
        print(f"# on each node, SCRATCH being a temporary folder\n{shlex.join(container.words(*given))}\n")
    words = made.command(Node(0, 1, LOOPBACK, "JOB", 0, (LOOPBACK,)), attempt=1, port=0)
    where = "" if container is None else f", in the container: what {SCRIPT} runs"
    print(
        f"# torchrun, as launch/node/agent.py runs it{where}\nPYTHONPATH={plan.run.code} {shlex.join(words)}"
    )
