"""Hand a script to sbatch, and find out which job came of it, whatever sbatch says.

sbatch may fail after Slurm has taken the job: an answer that comes too late, a plug-in or a wrapper that
fails afterwards. To take that for "refused" would leave a job in the queue that no run folder knows of. So
Slurm is asked for the job whose script lies in the folder of this submission. While it doesn't say, the job
is UNKNOWN.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.cluster import sbatch_errors, slurm_queue
from launch.cluster.submission import UNKNOWN
from launch.node.job import Job
from launch.scheduler.slurm_command import SlurmError
from launch.self_test.series import Series

SCRIPT = "job_submission.sh"  # launch/node/follow_up.py submits it again
PATIENCE_S = 300  # several times the longest MessageTimeout that sites set
LOOK_FOR_S = 60  # how long Slurm is asked for the job
PAUSE_S = 2.0


class RefusedError(RuntimeError):
    """There is no job; the message is what sbatch said."""


@dataclass(frozen=True)
class Submitted:
    """What came of a script."""

    job: str  # its id, that of an array as a whole; UNKNOWN
    note: str = ""  # what there is to tell of it


def submit(
    jobs: Sequence[Job | Series], script: str, folder: Path, limit_min: int, environment: Mapping[str, str]
) -> Submitted:
    """Submit a script, as a job, or as an array of several.

    Args:
        jobs: what its elements run.
        script: what sbatch gets.
        folder: an empty one that no other submission has.
        limit_min: the time limit.
        environment: of sbatch.

    Raises:
        RefusedError: there is no job.
        OSError: the folder can't be written to.
    """
    from submitit.core.utils import DelayedSubmission  # noqa: PLC0415  (slow to import)

    for index, one in enumerate(jobs):
        delayed = DelayedSubmission(one)
        delayed.set_timeout(limit_min, max_num_timeout=3)
        delayed.dump(folder / f"{index}.pkl")
    (folder / SCRIPT).write_text(script)
    found = _submit(folder, environment)
    if found.job != UNKNOWN:
        name_pickles(folder, found.job if len(jobs) == 1 else f"{found.job}_")
    return found


def name_pickles(folder: Path, job: str) -> None:
    """Give what a job runs the names under which submitit looks for it, for a minute from the job's start.

    Args:
        folder: of the submission.
        job: its id; ARRAY_ and anything behind it, of an array.
    """
    array, underscore, _ = job.partition("_")
    for path in folder.glob("[0-9]*.pkl"):
        if path.stem.isdigit():
            path.rename(folder / f"{array}{underscore}{path.stem if underscore else ''}_submitted.pkl")


def _submit(folder: Path, environment: Mapping[str, str]) -> Submitted:
    answer, said, code = _run(folder / SCRIPT, environment)
    if found := re.search(r"^Submitted batch job (\d+)", answer, re.MULTILINE):
        return Submitted(found[1], f"sbatch: {said}; but job {found[1]} is submitted" if code else "")
    if code and sbatch_errors.is_unsent(said):
        raise RefusedError(said)
    try:
        job = _found(folder)
    except SlurmError as error:
        return Submitted(UNKNOWN, f"sbatch: {said}; {error}")
    if job is not None:
        return Submitted(job, f"sbatch: {said}; but Slurm has the job: {job}")
    if code == 0:
        return Submitted(UNKNOWN, f"sbatch: {said}; Slurm has no job with the script {folder / SCRIPT}")
    raise RefusedError(said)


def _run(script: Path, environment: Mapping[str, str]) -> tuple[str, str, int]:
    """Return what sbatch answers, all that it says, in one line, and its exit code."""
    try:
        done = subprocess.run(
            ["sbatch", str(script)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {PATIENCE_S} s", 1
    return done.stdout, sbatch_errors.in_one_line(done.stderr or done.stdout), done.returncode


def _found(folder: Path) -> str | None:
    """Return the job of this submission; None if there is none.

    Raises:
        SlurmError: Slurm doesn't say, LOOK_FOR_S long.
    """
    deadline = time.monotonic() + LOOK_FOR_S
    while True:
        try:
            return slurm_queue.owner(folder)
        except SlurmError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)
