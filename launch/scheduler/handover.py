"""Hand a script to sbatch, and find out which job came of it, whatever sbatch says.

sbatch may fail after Slurm has taken the job: an answer that comes too late, a plug-in or a wrapper that
fails afterwards. To take that for "refused" would leave a job in the queue that no run folder knows of. So
Slurm is asked for the job whose script lies in the folder of this submission.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.scheduler.slurm_command import NO_ANSWER, UNSENT, MissingError, SlurmError, records, run
from launch.scheduler.slurm_states import slurm_state

UNKNOWN = "?"  # a job whose id nobody knows, which Slurm may have taken or not; ?_INDEX in an array
PATIENCE_S = 300  # several times the longest MessageTimeout that sites set
LOOK_FOR_S = 60  # how long Slurm is asked for the job
PAUSE_S = 2.0
OWNER_FIELDS = "%F|%T|%N|%o"
ANSWER = re.compile(r"^\s*Submitted batch job (\d+)", re.MULTILINE)  # whatever else a site prints
ID_ALONE = re.compile(r"\s*(\d+)(?:;\S+)?\s*")  # as wrappers of some sites answer
ORNAMENT = re.compile(r"^\S*sbatch: (error|fatal): |^\S*sbatch: |(Batch job submission|allocation) fail\w+: ")


class RefusedError(RuntimeError):
    """There is no job; the message is what sbatch said."""


@dataclass(frozen=True)
class Submitted:
    """What came of a script."""

    job: str | None  # its id, that of an array as a whole; None: nobody knows whether there is one
    note: str = ""  # what there is to tell of it


def hand_in(
    script: Path,
    environment: Mapping[str, str],
    options: Sequence[str] = (),
    patience_s: float | None = None,
    look_for_s: float | None = None,
) -> Submitted:
    """Submit a script.

    Args:
        script: in a folder that no other submission has.
        environment: of sbatch.
        options: of sbatch, besides those that the script states.
        patience_s: that sbatch gets; None: PATIENCE_S.
        look_for_s: how long Slurm is asked for the job, where sbatch doesn't tell; None: LOOK_FOR_S.

    Raises:
        RefusedError: there is no job.
        OSError: sbatch can't be run.
    """
    words = ["sbatch", *options, str(script)]
    answer, said, code = _run(words, environment, PATIENCE_S if patience_s is None else patience_s)
    if found := ANSWER.search(answer) or (None if code else ID_ALONE.fullmatch(answer)):
        return Submitted(found[1], f"sbatch: {said}; but job {found[1]} is submitted" if code else "")
    if code and re.search(UNSENT, said, re.IGNORECASE):  # no controller was reached that could have taken it
        raise RefusedError(said)
    try:
        job = _found(script.parent, LOOK_FOR_S if look_for_s is None else look_for_s)
    except SlurmError as error:
        return Submitted(None, f"sbatch: {said}; {error}")
    if job is not None:
        return Submitted(job, f"sbatch: {said}; but Slurm has the job: {job}")
    if code == 0:
        return Submitted(None, f"sbatch: {said}; Slurm has no job with the script {script}")
    raise RefusedError(said)


def owner(folder: Path) -> str | None:
    """Return the job whose script lies in a folder of one submission, ended or not; None if there is none.

    That is what no other job has in common with it: names and comments are the user's.

    Raises:
        SlurmError: Slurm doesn't say.
    """
    return owners([folder]).get(folder)


def owners(folders: Iterable[Path]) -> dict[Path, str]:
    """Return the same of several folders; those without a job are left out.

    Raises:
        SlurmError: Slurm doesn't say.
    """
    words = ["squeue", "--noheader", "--me", "--states=all", f"--format={OWNER_FIELDS}"]
    told = records(_owner, *words)
    scripts = [(job, script) for job, script, is_there in told if is_there]
    return {folder: job for folder in folders for job, script in scripts if same(script.parent, folder)}


def same(one: Path, other: Path) -> bool:
    """Whether two paths name one folder."""
    return one == other or one.resolve() == other.resolve()


def in_one_line(said: str) -> str:
    """Return what sbatch printed, each of its lines once."""
    lines = [ORNAMENT.sub("", ORNAMENT.sub("", line)).strip() for line in said.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines))) or "without a word"


def _owner(line: str) -> tuple[str, Path, bool]:
    """Return a job, its script, and whether there is such a job: those that are refused end without nodes."""
    job, state, nodes, script = line.split("|", 3)
    return job, Path(script.strip()), bool(nodes) or slurm_state(state).shown != "ended"


def _run(words: Sequence[str], environment: Mapping[str, str], patience_s: float) -> tuple[str, str, int]:
    """Return what sbatch answers, all that it says, in one line, and its exit code."""
    try:
        done = run(words, environment, patience_s)
    except subprocess.TimeoutExpired:
        return "", f"{NO_ANSWER} {patience_s:g} s", 1
    return done.stdout, in_one_line(done.stderr or done.stdout), done.returncode


def _found(folder: Path, look_for_s: float) -> str | None:
    """Return the job of this submission; None if there is none.

    Raises:
        SlurmError: Slurm doesn't say, so long, or can't be asked.
    """
    deadline = time.monotonic() + look_for_s
    while True:
        try:
            return owner(folder)
        except MissingError:
            raise
        except SlurmError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)
