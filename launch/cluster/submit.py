"""The one way in which runs are handed to a cluster, through submitit: one, or a sweep as one job array."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnw.invocation import RUN
from dnw.runs import ledger
from launch import node
from launch.cluster import local_controller, sbatch_errors
from launch.cluster.preflight import AS_SET, SubmissionChecks
from launch.cluster.submission import Submission, submission
from launch.config import SETTINGS
from launch.errors import LaunchError
from launch.node.job import Job
from launch.prepare import RunPlan
from launch.scheduler import sbatch_environment
from launch.self_test.series import Series
from shards import terminal

PYTHON = shlex.quote(sys.executable)
START = "start.sh"
CODE = "CODE[${SLURM_ARRAY_TASK_ID:-0}]"  # in the script: where the frozen code of its run is


def submit(plans: Sequence[RunPlan], checks: SubmissionChecks = AS_SET) -> list[Submission]:
    """Hand prepared runs to the cluster that they name, and note in each run folder where it went.

    Args:
        plans: at least one; all launched in the same way.
        checks: what preflight found, for a submission to Slurm.

    Raises:
        LaunchError: the cluster refuses, or can't be reached from here, or the disk is full; then there is
            no job, and no trace of one.
    """
    local = plans[0].launch.cluster.name == "local"
    before = [ledger.next_attempt(plan.run) - 1 for plan in plans]  # a job may begin one at once
    with terminal.uninterrupted():  # a job that no run folder knows of would be submitted a second time
        made = [_to_this_machine(plan) for plan in plans] if local else _to_slurm(plans, checks)
        made = [dataclasses.replace(one, attempts=count) for one, count in zip(made, before, strict=True)]
        try:
            for plan, one in zip(plans, made, strict=True):
                one.write(plan.run)
        except OSError as error:
            for one in made:
                subprocess.run(shlex.split(one.stop_command), capture_output=True, check=False)
            raise _unwritten(plans[0].run.folder, error) from None
    return made


def trial(plans: Sequence[RunPlan], checks: SubmissionChecks) -> tuple[bool, str]:
    """Return what Slurm says of the script, without taking it: whether it would, and its words."""
    asked = parameters(plans, checks)
    done = subprocess.run(
        ["sbatch", "--test-only"],
        input=script(plans, checks),
        env=_environment(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode:
        return False, sbatch_errors.explain(said, _stated(plans, asked))
    return True, " ".join(said.split()).removeprefix("sbatch: ")


def script(plans: Sequence[RunPlan], checks: SubmissionChecks) -> str:
    """Return the sbatch script that `submit` would hand to Slurm."""
    from submitit.slurm.slurm import _make_sbatch_string  # noqa: PLC0415  (slow to import)

    folder = _files_folder(plans)
    count = len(plans) if len(plans) > 1 else None
    command = f"{_python(folder)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    return _make_sbatch_string(command=command, folder=folder, map_count=count, **parameters(plans, checks))


def parameters(plans: Sequence[RunPlan], checks: SubmissionChecks) -> dict[str, Any]:
    """Return what sbatch is told, under submitit's names; what is None the cluster decides."""
    launch = plans[0].launch
    cluster = launch.cluster
    cpus = cluster.cpus_per_task or max(_cpus(plan) for plan in plans)
    more = {key.replace("-", "_"): value for key, value in (cluster.additional_parameters or {}).items()}
    asked = {
        "job_name": f"dnw-{plans[0].train.exp}",
        "time": cluster.limit_min,
        "nodes": launch.nodes,
        "ntasks_per_node": 1,  # torchrun's agent; it starts the processes
        "gpus_per_node": cluster.gpus_per_node,
        "cpus_per_task": cpus,
        "mem": f"{round(cluster.mem_gb * 1024)}M" if cluster.mem_gb else cluster.mem,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": ",".join(filter(None, [cluster.exclude, *checks.exclude])) or None,
        "nodelist": cluster.nodelist,
        "signal_delay_s": cluster.signal_delay_s,
        "array_parallelism": cluster.array_parallelism,
        "setup": _setup(plans),
        # Since 22.05 srun takes its job's CPUs per task from nobody; a task could be bound to a single one.
        "srun_args": [f"--cpus-per-task={cpus}", *cluster.srun_args],
        "additional_parameters": _flags({"requeue" if cluster.requeue else "no_requeue": True} | more),
    }
    return {name: value for name, value in asked.items() if value is not None}


def job(plan: RunPlan, foreground: bool = False) -> Job | Series:
    """Return what runs on each node."""
    launch = plan.launch
    training = Job(
        folder=plan.run.folder,
        nodes=launch.nodes,
        nproc=_processes(plan, foreground),
        grace_s=launch.cluster.grace_s,
        port=launch.port,
        foreground=foreground,
        error_retries=launch.error_retries,
        notify=launch.notify.command,
        gpus=launch.gpus,
        variables=launch.environment,
        is_requeued=launch.cluster.requeue,
        interface=launch.cluster.interface,
        after_diverged=ledger.next_attempt(plan.run) - 1 if launch.resume_diverged else 0,
    )
    if launch.self_test is None:
        return training
    return Series(training, only=launch.self_test.only, faults=launch.self_test.faults)


def _processes(plan: RunPlan, foreground: bool) -> int:
    """Return the processes on each node; 0: nobody has named a number, the job counts its GPUs."""
    launch = plan.launch
    is_named = launch.nproc is not None or launch.gpus is not None or launch.self_test is not None
    is_given = launch.cluster.name == "slurm" and not foreground
    return 0 if is_given and not is_named else launch.processes_per_node


def _cpus(plan: RunPlan) -> int:
    return plan.launch.processes_per_node * (plan.train.threads + plan.train.data.workers)


def _flags(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are false: sbatch's flags are given or not."""
    return {option: value for option, value in options.items() if value is not False}


def _setup(plans: Sequence[RunPlan]) -> list[str]:
    """Shell lines before srun: the user's, then what makes the job import its frozen code."""
    codes = [shlex.quote(str(plan.run.code)) for plan in plans]
    lines = [*plans[0].launch.cluster.setup, f"CODE=({' '.join(codes)})"]
    chosen = f"${{{CODE}}}"
    path = f'PYTHONPATH="{chosen}${{PYTHONPATH:+:$PYTHONPATH}}" PYTHONSAFEPATH=1'
    return [*lines, f"export {path} SLURM_EXPORT_ENV=ALL"]  # else SBATCH_EXPORT=NONE would keep it from tasks


def _python(folder: Path) -> str:
    """Return what starts Python on a node, or says that it is missing there: launch/node/start.sh."""
    return f'/bin/sh {shlex.quote(str(folder / START))} "${{{CODE}%/code}}" {PYTHON}'


def _stated(plans: Sequence[RunPlan], asked: Mapping[str, Any]) -> dict[str, str]:
    """How the user says each option that may be refused: as a setting, or as a default for sbatch."""
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


def _environment(asked: Mapping[str, Any]) -> dict[str, str]:
    return sbatch_environment.for_sbatch(os.environ, {*asked, *asked["additional_parameters"]})


def _files_folder(plans: Sequence[RunPlan]) -> Path:
    """Where submitit's files of this submission go: a new folder each, since job ids come again.

    A cluster that was set up anew counts from 1, and a restarted container hands out the same process ids;
    submitit would then take an old job's files for those of the new one.
    """
    parent = plans[0].run.slurm if len(plans) == 1 else plans[0].launch.runs_dir / ".sweeps"
    numbers = [int(path.name) for path in parent.glob("[0-9]*")] if parent.exists() else []
    return parent / str(max(numbers, default=0) + 1)


def _to_slurm(plans: Sequence[RunPlan], checks: SubmissionChecks) -> list[Submission]:
    check_slurm()
    folder, asked = _files_folder(plans), parameters(plans, checks)
    try:
        folder.mkdir(parents=True)
        shutil.copy(Path(node.__file__).with_name(START), folder / START)
        with sbatch_environment.replaced(_environment(asked)):
            jobs = _sbatch(plans, folder, asked)
    except (OSError, LaunchError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise error if isinstance(error, LaunchError) else _unwritten(folder, error) from None
    made = zip(plans, jobs, strict=True)
    return [submission(plan.launch, "slurm", job, folder, plan.words) for plan, job in made]


def _sbatch(plans: Sequence[RunPlan], folder: Path, asked: Mapping[str, Any]) -> list[str]:
    """Return the ids of the jobs that Slurm makes of them."""
    from submitit import SlurmExecutor  # noqa: PLC0415  (slow to import)
    from submitit.core.utils import FailedJobError, FailedSubmissionError  # noqa: PLC0415

    executor = SlurmExecutor(folder, python=_python(folder))
    executor.update_parameters(**asked)
    try:
        # submitit prints what sbatch says before it raises it
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            jobs = [executor.submit(job(plan)) for plan in plans]
    except (FailedJobError, FailedSubmissionError) as error:
        raise LaunchError(sbatch_errors.explain(str(error), _stated(plans, asked))) from None
    return [str(one.job_id) for one in jobs]


def _unwritten(path: Path, error: OSError) -> LaunchError:
    return LaunchError(
        f"{path}: not submitted, {(error.strerror or str(error)).lower()}; make room, and type it again"
    )


def check_slurm() -> None:
    """Refuse where there is no Slurm.

    Raises:
        LaunchError: its commands are not found here.
    """
    for command in ("sbatch", "srun"):
        if shutil.which(command) is None:
            raise LaunchError(
                f"{command}: not found, so this is no login node of a Slurm cluster; cluster=local runs in "
                f"the background of this machine, {RUN} in the foreground"
            )


def _to_this_machine(plan: RunPlan) -> Submission:
    folder = _files_folder([plan])
    folder.mkdir(parents=True)
    process_id = local_controller.start(job(plan), plan.run.code, plan.launch.cluster, folder)
    return submission(plan.launch, "local", process_id, folder, plan.words)
