"""A submission's files, for sbatch and for what runs on the nodes, and the job that comes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.node.follow_up import SCRIPT
from launch.node.job import Job
from launch.pack.pack import Pack
from launch.scheduler import handover
from launch.scheduler.handover import Submitted
from launch.self_test.series import Series
from shards.files.folder_entries import matching


def submit(
    jobs: Sequence[Job | Series | Pack],
    script: str,
    folder: Path,
    limit_min: int,
    environment: Mapping[str, str],
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
    found = handover.hand_in(folder / SCRIPT, environment)
    if found.job is not None:
        name_pickles(folder, found.job if len(jobs) == 1 else f"{found.job}_")
    return found


def name_pickles(folder: Path, job: str) -> None:
    """Give what a job runs the names under which submitit looks for it; where none did, start.sh does.

    Args:
        folder: of the submission.
        job: its id; ARRAY_ and anything behind it, of an array.
    """
    array, underscore, _ = job.partition("_")
    for path in matching(folder, "[0-9]*.pkl"):
        if path.stem.isdigit():
            path.rename(folder / f"{array}{underscore}{path.stem if underscore else ''}_submitted.pkl")
