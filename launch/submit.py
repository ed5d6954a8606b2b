"""The one way in which runs are handed to a cluster, through submitit: one, or a sweep as one job array."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from launch import controller
from launch.errors import LaunchError
from launch.job import Job
from launch.prepare import Plan
from launch.submission import Submission, submission

PYTHON = shlex.quote(sys.executable)


def submit(plans: Sequence[Plan]) -> list[Submission]:
    """Hand prepared runs to the cluster that they name, and note in each run folder where it went.

    Args:
        plans: at least one; all launched in the same way.

    Raises:
        LaunchError: the cluster refuses, or can't be reached from here.
    """
    local = plans[0].launch.cluster.name == "local"
    made = [_to_this_machine(plan) for plan in plans] if local else _to_slurm(plans)
    for plan, one in zip(plans, made, strict=True):
        one.write(plan.run)
    return made


def script(plans: Sequence[Plan]) -> str:
    """The sbatch script that `submit` would hand to Slurm."""
    from submitit.slurm.slurm import _make_sbatch_string  # noqa: PLC0415  (slow to import)

    folder = _files_folder(plans)
    count = len(plans) if len(plans) > 1 else None
    command = f"{PYTHON} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    return _make_sbatch_string(command=command, folder=folder, map_count=count, **parameters(plans))


def parameters(plans: Sequence[Plan]) -> dict[str, Any]:
    """What sbatch is told, under submitit's names; what is None the cluster decides."""
    launch = plans[0].launch
    cluster = launch.cluster
    asked = {
        "job_name": f"dnw-{plans[0].train.exp}",
        "time": cluster.timeout_min,
        "nodes": launch.nodes,
        "ntasks_per_node": 1,  # torchrun's agent; it starts the processes
        "gpus_per_node": cluster.gpus_per_node,
        "cpus_per_task": cluster.cpus_per_task or max(_cpus(plan) for plan in plans),
        "mem": f"{round(cluster.mem_gb * 1024)}M" if cluster.mem_gb else None,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": cluster.exclude,
        "signal_delay_s": cluster.signal_delay_s,
        "array_parallelism": cluster.array_parallelism,
        "setup": _setup(plans),
        "srun_args": list(cluster.srun_args),
        "additional_parameters": dict(cluster.additional_parameters),
    }
    return {name: value for name, value in asked.items() if value is not None}


def job(plan: Plan, foreground: bool = False) -> Job:
    """What runs on each node."""
    launch = plan.launch
    return Job(
        folder=plan.run.folder,
        nodes=launch.nodes,
        nproc=launch.processes_per_node,
        grace_s=launch.cluster.grace_s,
        port=launch.port,
        foreground=foreground,
        error_retries=launch.error_retries,
    )


def _cpus(plan: Plan) -> int:
    return plan.launch.processes_per_node * (plan.train.threads + plan.train.data.workers)


def _setup(plans: Sequence[Plan]) -> list[str]:
    """Shell lines before srun: the user's, then what makes the job import its frozen code."""
    codes = [shlex.quote(str(plan.run.code)) for plan in plans]
    lines = [*plans[0].launch.cluster.setup, f"CODE=({' '.join(codes)})"]
    chosen = "${CODE[${SLURM_ARRAY_TASK_ID:-0}]}"
    return [*lines, f'export PYTHONPATH="{chosen}${{PYTHONPATH:+:$PYTHONPATH}}" PYTHONSAFEPATH=1']


def _files_folder(plans: Sequence[Plan]) -> Path:
    """Where submitit's files of this submission go: a new folder each, since job ids come again.

    A cluster that was set up anew counts from 1, and a restarted container hands out the same process ids;
    submitit would then take an old job's files for those of the new one.
    """
    parent = plans[0].run.slurm if len(plans) == 1 else plans[0].launch.runs_dir / ".sweeps"
    numbers = [int(path.name) for path in parent.glob("[0-9]*")] if parent.exists() else []
    return parent / str(max(numbers, default=0) + 1)


def _to_slurm(plans: Sequence[Plan]) -> list[Submission]:
    from submitit import SlurmExecutor  # noqa: PLC0415  (slow to import)
    from submitit.core.utils import FailedJobError  # noqa: PLC0415

    check_slurm()
    folder = _files_folder(plans)
    folder.mkdir(parents=True)
    executor = SlurmExecutor(folder, python=PYTHON)
    executor.update_parameters(**parameters(plans))
    try:
        with _outside_any_job(), executor.batch():
            jobs = [executor.submit(job(plan)) for plan in plans]
    except FailedJobError as error:
        raise LaunchError(f"sbatch refused the job: {error}") from None
    return [submission(plans[0].launch, "slurm", one.job_id, folder) for one in jobs]


@contextlib.contextmanager
def _outside_any_job() -> Iterator[None]:
    """Typed inside a job, sbatch would hand that job's variables on to the new one."""
    from submitit.helpers import clean_env  # noqa: PLC0415  (slow to import)

    kept = {name: value for name, value in os.environ.items() if name == "SLURM_CONF"}
    with clean_env():
        os.environ |= kept
        yield


def check_slurm() -> None:
    """Refuse where there is no Slurm.

    Raises:
        LaunchError: its commands are not found here.
    """
    for command in ("sbatch", "srun"):
        if shutil.which(command) is None:
            raise LaunchError(
                f"{command}: not found, so this is no login node of a Slurm cluster; cluster=local runs in "
                "the background of this machine, launch/local.py in the foreground"
            )


def _to_this_machine(plan: Plan) -> Submission:
    folder = _files_folder([plan])
    folder.mkdir(parents=True)
    process_id = controller.start(job(plan), plan.run.code, plan.launch.cluster, folder)
    return submission(plan.launch, "local", process_id, folder)
