"""The one way in which runs are handed to a cluster, through submitit: one, or a sweep as one job array."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnw.invocation import RUN
from dnw.runs import ledger
from launch import node
from launch.cluster import job_request, local_controller, sbatch, sbatch_errors
from launch.cluster.gated import GATE, PACK, Gated
from launch.cluster.job_request import CODE
from launch.cluster.lanes import Lane, lanes, packs
from launch.cluster.preflight import AS_SET, SubmissionChecks
from launch.cluster.submission import Submission, submission
from launch.config import Cluster, is_path
from launch.errors import LaunchError
from launch.node.container import Container
from launch.node.follow_up import START, WAITING, make_folder, next_folder
from launch.node.job import Job
from launch.node.notices.channels import channels
from launch.node.notify import handed_on
from launch.pack.pack import Pack
from launch.prepare import RunPlan
from launch.scheduler import handover, slurm_command
from launch.scheduler.array import array_of
from launch.scheduler.handover import UNKNOWN
from launch.scheduler.slurm_command import SlurmError
from launch.self_test.series import Series
from shards import terminal
from shards.command import is_full

PYTHON = shlex.quote(sys.executable)
Jobs = Sequence[Sequence[RunPlan]]  # the runs of a job, or of each element of an array


def submit(plans: Sequence[RunPlan], checks: SubmissionChecks = AS_SET) -> list[Submission]:
    """Hand prepared runs to the cluster that they name, and note in each run folder where it went.

    To Slurm they go as one job or array, or as several arrays where one would be too large (lanes.py).

    Args:
        plans: at least one; all launched in the same way.
        checks: what preflight found, for a submission to Slurm.

    Raises:
        LaunchError: the cluster refuses, or can't be reached from here, or the disk is full; then there is
            no job, and no trace of one. Or nobody knows what became of it: then that is noted.
    """
    local = plans[0].launch.cluster.name == "local"
    with terminal.uninterrupted():  # a job that no run folder knows of would be submitted a second time
        made = [_to_this_machine(plan, checks) for plan in plans] if local else _to_slurm(plans, checks)
        try:
            _note(plans, made)
        except OSError as error:
            _take_back(made)
            raise _unwritten(plans[0].run.folder, error) from None
    return made


def trial(plans: Sequence[RunPlan], checks: SubmissionChecks) -> tuple[bool, str]:
    """Return what Slurm says of the script, without taking it: whether it would, and its words."""
    asked = job_request.parameters(packs(plans), checks)
    done = subprocess.run(
        ["sbatch", "--test-only"],
        input=script(plans, checks),
        env=job_request.environment(asked),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode:
        return False, sbatch_errors.explain(said, job_request.stated(plans, asked))
    return True, " ".join(said.split()).removeprefix("sbatch: ")


def script(plans: Sequence[RunPlan], checks: SubmissionChecks) -> str:
    """Return the sbatch script that `submit` would hand to Slurm; of several arrays, the first one's."""
    jobs = packs(plans)
    first = _lanes(jobs, checks)[0]
    array = jobs[: first.sizes[0]]
    asked = job_request.parameters(array, checks, first.share)
    return _script(array, asked, next_folder(_files(array)), checks)


def _script(jobs: Jobs, asked: Mapping[str, Any], folder: Path, checks: SubmissionChecks) -> str:
    from submitit.slurm.slurm import _make_sbatch_string  # noqa: PLC0415  (slow to import)

    count = len(jobs) if len(jobs) > 1 else None
    command = f"{_python(folder)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    if checks.after:
        told = shlex.join(f"{name}={value}" for name, value in _told(jobs[0][0]).items())
        gate = f"{_python(folder)} -u -m {GATE} {_waiting(jobs, checks, folder)} || exit"
        gate = f"env {told} {gate}" if told else gate
        # a shell that TERM ended would take the gate with it, before this has said what to wait for
        setup = [*asked["setup"], "trap : TERM", gate, "trap - TERM"]
        asked = {**asked, "setup": setup}
    return _make_sbatch_string(command=command, folder=folder, map_count=count, **asked)


def _waiting(jobs: Jobs, checks: SubmissionChecks, folder: Path) -> str:
    """Return what tells the gate which runs wait for which."""
    if _is_shared(jobs):
        return shlex.join([PACK, str(folder / WAITING)])
    return f'"${{{CODE}%/code*}}" {shlex.join(str(run.folder) for run in checks.after)}'


def _is_shared(jobs: Jobs) -> bool:
    return max(map(len, jobs)) > 1


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
        notices=channels(launch.notify),
        gpus=launch.gpus,
        variables=launch.environment,
        is_requeued=launch.cluster.requeue,
        interface=launch.cluster.interface,
        container=_container(launch.cluster),
        python=_agent_python(launch.cluster),
        after_diverged=ledger.next_attempt(plan.run) - 1 if launch.resume_diverged else 0,
    )
    if launch.self_test is None:
        return training
    return Series(training, only=launch.self_test.only, faults=launch.self_test.faults)


def _container(cluster: Cluster) -> Container | None:
    """Return what agent and workers run in."""
    if cluster.container is None:
        return None
    image = cluster.container
    image = str(Path(image).expanduser().absolute()) if is_path(image) else image
    return Container(image, cluster.container_runtime, cluster.container_args)


def _agent_python(cluster: Cluster) -> str | None:
    """Return the interpreter of agent and workers, where that is another one; a name is looked up in PATH."""
    python = cluster.python
    if python is None or cluster.container is not None or "/" not in python:
        return python
    return str(Path(python).expanduser().absolute())


def _processes(plan: RunPlan, foreground: bool) -> int:
    """Return the processes on each node; 0: nobody has named a number, the job counts its GPUs."""
    launch = plan.launch
    is_named = launch.nproc is not None or launch.gpus is not None or launch.self_test is not None
    is_given = launch.cluster.name == "slurm" and not foreground
    return 0 if is_given and not is_named else launch.processes_per_node


def _python(folder: Path) -> str:
    """Return what starts Python on a node, or says that it is missing there: launch/node/start.sh."""
    return f'/bin/sh {shlex.quote(str(folder / START))} "${{{CODE}%/code*}}" {PYTHON}'


def _files(jobs: Jobs) -> Path:
    """Return where submitit's files go: each submission has a new folder there, since job ids come again.

    A cluster that was set up anew counts from 1, and a restarted container hands out the same process ids;
    submitit would then take an old job's files for those of the new one.
    """
    first = jobs[0][0]
    return first.run.slurm if len(jobs) == len(jobs[0]) == 1 else first.launch.runs_dir / ".sweeps"


def _lanes(jobs: Jobs, checks: SubmissionChecks) -> list[Lane]:
    return lanes(len(jobs), jobs[0][0].launch.cluster.array_parallelism, checks.largest_array)


def _to_slurm(plans: Sequence[RunPlan], checks: SubmissionChecks) -> list[Submission]:
    """Submit runs as one job or array, or as several arrays; all of them, or none."""
    check_slurm()
    made: list[Submission] = []
    left = packs(plans)
    try:
        for lane in _lanes(left, checks):
            after = None
            for size in lane.sizes:
                array, left = left[:size], left[size:]
                after = _sbatch(array, checks, lane.share, after, made)
    except LaunchError:
        try:
            _take_back([one for one in made if one.is_known])
        except LaunchError:
            _note(plans[: len(made)], made)
            raise
        raise
    return made


def _sbatch(
    array: Jobs, checks: SubmissionChecks, share: int, after: str | None, made: list[Submission]
) -> str:
    """Submit one job or one array; its id. What was made of the runs is appended to `made`."""
    plans = [plan for runs in array for plan in runs]
    parent, asked = _files(array), job_request.parameters(array, checks, share, after)
    before = [ledger.next_attempt(plan.run) - 1 for plan in plans]  # a job may begin one at once
    try:
        folder = make_folder(parent)
    except OSError as error:
        raise _unwritten(parent, error) from None
    text = _script(array, asked, folder, checks)
    limit_min, environment = plans[0].launch.cluster.limit_min, job_request.environment(asked)
    try:
        shutil.copy(Path(node.__file__).with_name(START), folder / START)
        if checks.after and _is_shared(array):
            waiting = [{str(one.run.folder): _after(one, checks) for one in runs} for runs in array]
            (folder / WAITING).write_text(json.dumps(waiting))
        found = sbatch.submit([_work(runs) for runs in array], text, folder, limit_min, environment)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _unwritten(folder, error) from None
    except handover.RefusedError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise LaunchError(sbatch_errors.explain(str(error), job_request.stated(plans, asked))) from None
    job_id = UNKNOWN if found.job is None else found.job
    names = [job_id] if len(array) == 1 else [f"{job_id}_{index}" for index in range(len(array))]
    named = [(name, runs) for name, runs in zip(names, array, strict=True) for _ in runs]
    for plan, (name, runs), count in zip(plans, named, before, strict=True):
        pack = [str(one.run.folder) for one in runs] if len(runs) > 1 else []
        one = submission(plan.launch, "slurm", name, folder, plan.words)
        made.append(dataclasses.replace(one, attempts=count, after=_after(plan, checks), pack=pack))
    if found.job is None:
        _note(plans, made[-len(plans) :])
        raise LaunchError(
            f"{found.note}: nobody knows whether the job is submitted. Type the same again once Slurm "
            "answers: it looks for the job first"
        )
    if found.note:
        print(found.note, file=sys.stderr)
    return job_id


def _work(plans: Sequence[RunPlan]) -> Job | Series | Pack:
    """Return what a job does that is for these runs."""
    jobs = [job(plan) for plan in plans]
    if len(jobs) == 1:
        return jobs[0]
    alone = [
        dataclasses.replace(one, is_requeued=False, runs=len(jobs)) for one in jobs if isinstance(one, Job)
    ]
    return Pack(tuple(alone), is_requeued=plans[0].launch.cluster.requeue)


def _note(plans: Sequence[RunPlan], made: Sequence[Submission]) -> None:
    """Note in each run folder where the run went."""
    for plan, one in zip(plans, made, strict=True):
        one.write(plan.run)


def _take_back(made: Sequence[Submission]) -> None:
    """Cancel what was submitted, where not all of it could be.

    Raises:
        LaunchError: Slurm doesn't do that; it says which jobs stay.
    """
    for one in made:
        if one.cluster == "local":
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.kill(int(one.job), signal.SIGTERM)
    jobs = dict.fromkeys(array_of(one.job) for one in made if one.cluster == "slurm" and one.is_known)
    try:
        if jobs:
            slurm_command.ask("scancel", *jobs)
    except SlurmError as error:
        raise LaunchError(f"{error}: these jobs stay, cancel them: scancel {' '.join(jobs)}") from None


def _unwritten(path: Path, error: OSError) -> LaunchError:
    remedy = "make room" if is_full(error) else "make that possible"
    return LaunchError(
        f"{path}: not submitted, {(error.strerror or str(error)).lower()}; {remedy}, and type it again"
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


def _to_this_machine(plan: RunPlan, checks: SubmissionChecks) -> Submission:
    folder = make_folder(_files([[plan]]))
    before = ledger.next_attempt(plan.run) - 1  # the job may begin one at once
    work = job(plan)
    others = tuple(run.folder for run in checks.after)
    gated = Gated(work, plan.run.folder, others, work.nproc, _told(plan)) if others else work
    process_id = local_controller.start(gated, plan.run.code, plan.launch.cluster, folder)
    one = submission(plan.launch, "local", process_id, folder, plan.words)
    return dataclasses.replace(one, attempts=before, after=_after(plan, checks))


def _told(plan: RunPlan) -> dict[str, str]:
    """Return how the gate of a job knows who is told that its run won't begin."""
    return handed_on(plan.launch.notify.command, channels(plan.launch.notify))


def _after(plan: RunPlan, checks: SubmissionChecks) -> list[str]:
    """Return the folders of the runs that one waits for, of those that its job does."""
    return [str(run.folder) for run in checks.after if run in plan.follows]
