"""What sbatch says when it refuses a job, in one line that names the settings to change."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dnw.invocation import RUN
from launch.config import SETTINGS

# Words of Slurm's, the first that fits, and the options that they are about.
ABOUT = {
    "policy": ("qos", "account", "nodes", "time"),
    "account": ("account", "partition"),
    "partition name|partition specified": ("partition",),
    "qos": ("qos",),
    "time limit|--time": ("time", "partition"),
    "memory|--mem": ("mem",),
    "node count": ("nodes", "partition"),
    "number of nodes": ("nodes", "nodelist"),
    "feature": ("constraint",),
    "node name": ("exclude", "nodelist"),
    "array": ("array",),
    "configuration": (
        *("nodes", "gpus_per_node", "cpus_per_task", "mem", "constraint", "exclude", "nodelist", "partition"),
    ),
}
UNREACHED = (
    "contact slurm controller|connection refused|connect failure|communication|connection timed out"
    "|slurmctld|could not establish a configuration source|resolve"
)
ORNAMENT = re.compile(r"^\S*sbatch: (error|fatal): |^\S*sbatch: |(Batch job submission|allocation) fail\w+: ")


def explain(said: str, stated: Mapping[str, str]) -> str:
    """One line: the settings that it is about, and what Slurm said.

    Args:
        said: what sbatch printed.
        stated: the options that it was given, and how the user says each of them: {"partition":
            "cluster.partition=gpu"}.
    """
    lines = [ORNAMENT.sub("", ORNAMENT.sub("", line)).strip() for line in said.splitlines()]
    words = "; ".join(dict.fromkeys(filter(None, lines))) or "without a word"
    if re.search(UNREACHED, words, re.I):
        return (
            f"sbatch: no controller of Slurm answers here: {words}; cluster=local runs in the background of "
            f"this machine, {RUN} in the foreground"
        )
    about = next((options for pattern, options in ABOUT.items() if re.search(pattern, words, re.I)), ())
    named = ", ".join(stated[option] for option in about if option in stated)
    if not named:
        named = f"{SETTINGS[about[0]]} (not given)" if about and about[0] in SETTINGS else "sbatch"
    return f"{named}: Slurm refuses the job: {words}"
