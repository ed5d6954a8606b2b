"""A job that goes on where this one can't be requeued, as there is no scontrol: its script, submitted again.

It waits for the end of this one by its number (afterany), not by the name that it shares with other runs of
the experiment (singleton). submitit finds what a job shall do by the job's id, and so does whoever asks how
the run stands: both are told before this job ends, and so before the next one starts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnw.runs.folder import Run
from launch.node.topology import Node
from launch.scheduler import handover, sbatch_environment
from launch.scheduler.slurm_command import PATIENCE_S
from shards.atomic import replacing


def submit(run: Run, node: Node, exclude: Sequence[str] = ()) -> str | None:
    """Submit the script of this job once more, to start when it has ended; why that can't be, or None.

    Args:
        run: what it works on.
        node: the first one of the job.
        exclude: nodes to keep out, besides those that the script does.
    """
    if not run.launch.exists():
        return "the run was never submitted"
    record: dict[str, Any] = json.loads(run.launch.read_bytes())
    folder = Path(record["folder"])
    script = next(iter(sorted(folder.glob("*_submission.sh"))), None)
    if script is None or record["job"] != node.job:
        return f"no script of job {node.job} in {folder}"
    text = script.read_text()
    task = node.job.partition("_")[2]
    options = [f"--dependency=afterany:{node.job}", *([f"--array={task}"] if task else [])]
    if exclude:
        options.append(
            f"--exclude={','.join([*re.findall(r'^#SBATCH --exclude=(.*)$', text, re.MULTILINE), *exclude])}"
        )
    stated = {name.replace("-", "_") for name in re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE)}
    environment = sbatch_environment.for_sbatch(os.environ, stated)
    own = folder / f"after-{node.job}-{node.restart}"  # by which Slurm is asked for it
    own.mkdir(exist_ok=True)
    try:
        found = handover.hand_in(
            Path(shutil.copy(script, own)), environment, options, patience_s=PATIENCE_S, look_for_s=PATIENCE_S
        )
    except (OSError, handover.RefusedError) as error:
        return f"sbatch: {error}"
    if found.job is None:
        return f"nobody knows whether a job follows ({found.note})"
    job = found.job + (f"_{task}" if task else "")
    shutil.copy(folder / f"{node.job}_submitted.pkl", folder / f"{job}_submitted.pkl")
    with replacing(run.launch) as file:
        file.write((json.dumps({**record, "job": job}, indent=1) + "\n").encode())
    return None
