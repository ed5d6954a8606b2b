"""What sbatch says when it refuses a job, in one line that names the settings to change."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dnw.invocation import RUN
from launch.scheduler.handover import in_one_line
from launch.scheduler.sbatch_options import SETTINGS
from launch.scheduler.slurm_command import is_unreached

# Words of Slurm's, the first that fits, and the options that they are about.
ABOUT = {
    # limits of a QOS, or of an association, by what they limit: QOSMaxGRESPerUser, AssocMaxSubmitJobLimit
    r"(qos|assoc)\w*submitjob": ("array", "qos", "account"),
    r"(qos|assoc)\w*gres": ("gpus_per_node", "nodes", "qos"),
    r"(qos|assoc)\w*cpu": ("cpus_per_task", "nodes", "qos"),
    r"(qos|assoc)\w*mem": ("mem", "nodes", "qos"),
    r"(qos|assoc)\w*wall": ("time", "qos"),
    "policy": ("qos", "account", "nodes", "time", "array"),
    "account": ("account", "partition"),
    "partition name|partition specified": ("partition",),
    "qos": ("qos",),
    "time limit|--time": ("time", "partition"),
    "memory|--mem": ("mem",),
    "node count": ("nodes", "partition"),
    "number of nodes": ("nodes", "nodelist"),
    "feature": ("constraint",),
    "generic resource|gres|trackable resource": ("gpus_per_node",),
    "node name|required node": ("exclude", "nodelist"),
    "array": ("array",),
    "configuration": (
        *("nodes", "gpus_per_node", "cpus_per_task", "mem", "constraint", "exclude", "nodelist", "partition"),
    ),
    "partition": ("partition",),
}


def unreached(command: str, said: str) -> str:
    """Return one line: what a command of Slurm's said that found no controller, and how to do without."""
    return (
        f"{command}: no controller of Slurm answers here: {said}; cluster=local runs in the background of "
        f"this machine, {RUN} in the foreground"
    )


def explain(said: str, stated: Mapping[str, str]) -> str:
    """One line: the settings that it is about, and what Slurm said.

    Args:
        said: what sbatch printed.
        stated: the options that it was given, and how the user says each of them: {"partition":
            "cluster.partition=gpu"}.
    """
    words = in_one_line(said)
    if is_unreached(words):
        return unreached("sbatch", words)
    about = next((options for pattern, options in ABOUT.items() if re.search(pattern, words, re.I)), ())
    named = ", ".join(stated[option] for option in about if option in stated)
    if not named:
        named = f"{SETTINGS[about[0]]} (not given)" if about and about[0] in SETTINGS else "sbatch"
    return f"{named}: Slurm refuses the job: {words}"
