"""What a job asks Slurm for: sbatch's options, its environment, and how the user says each of them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from launch.cluster.preflight import SubmissionChecks
from launch.config import Cluster
from launch.prepare import RunPlan
from launch.scheduler import sbatch_environment
from launch.scheduler.sbatch_options import SETTINGS

CODE = "CODE[${SLURM_ARRAY_TASK_ID:-0}]"  # in the script: where the frozen code of its run is


def parameters(
    jobs: Sequence[Sequence[RunPlan]],
    checks: SubmissionChecks,
    share: int | None = None,
    after: str | None = None,
) -> dict[str, Any]:
    """Return what sbatch is told, under submitit's names; what is None the cluster decides.

    Runs that share a job have the CPUs and the memory of all of them, and the GPUs of one.

    Args:
        jobs: the runs of one job, or of each element of an array.
        checks: what preflight found.
        share: elements at a time; None: as set.
        after: the array that must have ended before.
    """
    launch = jobs[0][0].launch
    cluster = launch.cluster
    cpus = max(sum(map(_cpus, plans)) for plans in jobs)
    more = {key.replace("-", "_"): value for key, value in (cluster.additional_parameters or {}).items()}
    if before := [*checks.jobs, *filter(None, [after])]:
        theirs = more.get("dependency")
        more["dependency"] = ",".join(filter(None, [str(theirs or ""), f"afterany:{':'.join(before)}"]))
    asked = {
        "job_name": f"dnw-{jobs[0][0].train.exp}",
        "time": cluster.limit_min,
        "nodes": launch.nodes,
        "ntasks_per_node": 1,  # torchrun's agent; it starts the processes
        "gpus_per_node": cluster.gpus_per_node if cluster.gpus_by_slurm else None,
        "cpus_per_task": cpus,
        "mem": _memory(cluster, max(map(len, jobs))),
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": ",".join(filter(None, [cluster.exclude, *checks.exclude])) or None,
        "nodelist": cluster.nodelist,
        "signal_delay_s": cluster.signal_delay_s,
        "array_parallelism": share or cluster.array_parallelism,
        "setup": _setup(jobs),
        # Since 22.05 srun takes its job's CPUs per task from nobody; a task could be bound to a single one.
        "srun_args": [f"--cpus-per-task={cpus}", *cluster.srun_args],
        "additional_parameters": _flags({"requeue" if cluster.requeue else "no_requeue": True} | more),
    }
    return {name: value for name, value in asked.items() if value is not None}


def stated(plans: Sequence[RunPlan], asked: Mapping[str, Any]) -> dict[str, str]:
    """Return how the user says each option that may be refused: as a setting, or as a default for sbatch."""
    cluster = plans[0].launch.cluster
    names = SETTINGS | {"time": cluster.limit_name, "array": "-m"}
    values = {**asked, "time": cluster.time or cluster.limit_min}
    if cluster.mem_gb:
        names["mem"], values["mem"] = "cluster.mem_gb", f"{cluster.mem_gb:g}"
    if len(plans) > 1:
        values["array"] = f"{len(plans)} runs"
    said = {option: f"{name}={values[option]}" for option, name in names.items() if option in values}
    for option in names.keys() - said.keys():
        found = [
            f"{name}={os.environ[name]}"
            for name in sbatch_environment.variables(option)
            if name in os.environ
        ]
        said |= {option: ", ".join(found)} if found else {}
    return said


def environment(asked: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of sbatch, without what these options say otherwise."""
    return sbatch_environment.for_sbatch(os.environ, {*asked, *asked["additional_parameters"]})


def _cpus(plan: RunPlan) -> int:
    launch = plan.launch
    needed = launch.processes_per_node * (plan.train.threads + plan.train.data.workers)
    return launch.cluster.cpus_per_task or needed


def _memory(cluster: Cluster, runs: int) -> str | None:
    """Return the memory of so many runs, each of which has what is set."""
    if cluster.mem_gb:
        return f"{round(cluster.mem_gb * 1024) * runs}M"
    return cluster.mem and re.sub(r"\d+", lambda found: str(int(found[0]) * runs), cluster.mem)


def _flags(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are false: sbatch's flags are given or not."""
    return {option: value for option, value in options.items() if value is not False}


def _setup(jobs: Sequence[Sequence[RunPlan]]) -> list[str]:
    """Shell lines before srun: the user's, then what makes the job import its frozen code.

    Of runs that share a job that of the first: the others' own is imported by their processes.
    """
    codes = [shlex.quote(str(plans[0].run.code)) for plans in jobs]
    lines = [*jobs[0][0].launch.cluster.setup, f"CODE=({' '.join(codes)})"]
    chosen = f"${{{CODE}}}"
    path = f'PYTHONPATH="{chosen}${{PYTHONPATH:+:$PYTHONPATH}}" PYTHONSAFEPATH=1'
    return [*lines, f"export {path} SLURM_EXPORT_ENV=ALL"]  # else SBATCH_EXPORT=NONE would keep it from tasks
