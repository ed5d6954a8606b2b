"""A job that goes on where this one can't be requeued, as there is no scontrol: its script, submitted again.

It waits for the end of this one by its number (afterany), not by the name that it shares with other runs of
the experiment (singleton). Like any submission it has a folder of its own, in which start.sh finds what the
job shall do, and by which Slurm is asked for the job. That folder is noted in the run's before sbatch is
asked: where nobody learns what came of it, whoever asks how the run stands has Slurm look for it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dnw.runs.folder import Run
from launch.node.topology import Node
from launch.pack.marks import FOLDERS
from launch.scheduler import handover, sbatch_environment
from launch.scheduler.handover import UNKNOWN
from launch.scheduler.slurm_command import PATIENCE_S
from shards.atomic import replacing
from shards.files.folder_entries import matching

SCRIPT, START = "job_submission.sh", "start.sh"  # of any submission, in its folder
WAITING = "waiting.json"  # of runs that share a job, or each element of an array: which waits for which
SUBMISSION = "DNW_SUBMISSION"  # the variable in which start.sh says what its folder is


def submit(
    run: Run,
    node: Node,
    exclude: Sequence[str] = (),
    after: Sequence[str] = (),
    others: Sequence[Run] = (),
) -> str | None:
    """Submit the script of this job once more, to start when it has ended; why that can't be, or None.

    Args:
        run: what it works on.
        node: the first one of the job.
        exclude: nodes to keep out, besides those that the script does.
        after: other jobs that it waits for the end of.
        others: runs that it works on beside, in a pack.
    """
    if not run.launch.exists():
        return "the run was never submitted"
    records = {one: _record(one) for one in (run, *others) if one.launch.exists()}
    record = records[run]
    folder, text = Path(record["folder"]), script_of(run)
    if not text or not _is_ours(record, node):
        return f"no script of job {node.job} in {folder}"
    task = node.job.partition("_")[2]
    element = f"_{task}" if task else ""
    jobs = ":".join([node.job, *after])
    dependency = ",".join([*lasting(text), f"afterany:{jobs}"])
    options = [f"--dependency={dependency}", *([f"--array={task}"] if task else [])]
    if exclude:
        options.append(
            f"--exclude={','.join([*re.findall(r'^#SBATCH --exclude=(.*)$', text, re.MULTILINE), *exclude])}"
        )
    stated = {name.replace("-", "_") for name in re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE)}
    environment = sbatch_environment.for_sbatch(os.environ, stated)
    new = make_folder(folder.parent)
    try:
        _fill(new, folder, node.job, text)
        _note(records, {"job": UNKNOWN + element, "folder": str(new)})
        found = handover.hand_in(
            new / SCRIPT, environment, options, patience_s=PATIENCE_S, look_for_s=PATIENCE_S
        )
    except (OSError, handover.RefusedError) as error:
        _note(records)
        shutil.rmtree(new, ignore_errors=True)
        return f"sbatch: {error}"
    if found.job is None:
        return f"nobody knows whether a job follows ({found.note})"
    _note(records, {"job": found.job + element, "folder": str(new)})
    return None


def script_of(run: Run) -> str:
    """Return the script that was submitted for a run last; empty if there is none."""
    if not run.launch.exists():
        return ""
    folder = Path(json.loads(run.launch.read_bytes())["folder"])
    script = next(iter(matching(folder, "*_submission.sh")), None)
    return script.read_text() if script is not None else ""


def lasting(script: str) -> list[str]:
    """Return what a script has its job wait for that is no single event: singleton, if that is among it."""
    found = re.findall(r"^#SBATCH --dependency=(.*)$", script, re.MULTILINE)
    return ["singleton"] if any("singleton" in re.split("[,?]", one) for one in found) else []


def _is_ours(record: Mapping[str, Any], node: Node) -> bool:
    """Whether the newest submission is this job; where nobody knew which job that is, by its folder."""
    job, folder = str(record["job"]), str(record["folder"])
    return job == node.job or (job.startswith(UNKNOWN) and folder == os.environ.get(SUBMISSION))


def _fill(new: Path, folder: Path, job: str, script: str) -> None:
    """Put into a new folder what that of a job's submission has for it."""
    shutil.copy(folder / f"{job}_submitted.pkl", new / f"{job.partition('_')[2] or 0}.pkl")
    shutil.copy(folder / START, new / START)
    if (folder / WAITING).exists():
        shutil.copy(folder / WAITING, new / WAITING)
    for marks in FOLDERS:
        if (folder / marks).is_dir():
            shutil.copytree(folder / marks, new / marks)
    old_words, new_words = (shlex.quote(str(path)).removesuffix("'") for path in (folder, new))
    (new / SCRIPT).write_text(re.sub(rf"{re.escape(old_words)}(?!\d)", lambda _: new_words, script))


def next_folder(parent: Path) -> Path:
    """Return the next one of counted folders; others beside them, such as copies, don't count."""
    numbers = [int(path.name) for path in matching(parent, "[0-9]*") if path.name.isdecimal()]
    return parent / str(max(numbers, default=0) + 1)


def make_folder(parent: Path) -> Path:
    """Make the next one, as other elements of an array, or submissions of other runs, may do meanwhile."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        new = next_folder(parent)
        try:
            new.mkdir()
        except FileExistsError:
            continue
        return new


def _record(run: Run) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(run.launch.read_bytes())
    return record


def _note(
    records: Mapping[Run, Mapping[str, Any]], changes: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Note in each run's folder where it went, as it was noted before but for some changes."""
    for run, record in records.items():
        with replacing(run.launch) as file:
            file.write((json.dumps({**record, **changes}, indent=1) + "\n").encode())
