"""The environment that sbatch runs in: its own defaults are in there, and the job inherits all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launch.scheduler import gres

# What a job around us put there: sbatch would hand it on to the new one, or take it for its own.
OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_MEM_BIND", "SBATCH_CPU_BIND", "SUBMITIT")
# One of these tells that there is a job: some unset the others, so that no program takes itself for a task.
MARKS = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURM_STEP_ID")
OF_ITS_GPUS = frozenset({"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"})
OF_THE_SITE = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
# Variables win over what a script says. These would make something else of any job of ours, or have sbatch
# answer otherwise than it is read.
NEVER = frozenset(
    f"SBATCH_{name}"
    for name in (
        *("ARRAY_INX", "WAIT", "REQUEUE", "NO_REQUEUE", "NO_KILL", "OPEN_MODE", "INPUT", "OUTPUT", "ERROR"),
        *("DEBUG", "CONTAINER"),
    )
)
# srun's defaults: in the job they would give the step other tasks, cores, memory, GPUs or nodes than the
# script states, refuse it, or end it otherwise. A job leaves them behind where somebody has unset its marks.
OF_A_STEP = frozenset(
    f"SLURM_{name}"
    for name in (
        *("NTASKS", "NPROCS", "NNODES", "JOB_NUM_NODES", "NTASKS_PER_NODE", "NTASKS_PER_SOCKET"),
        *("NTASKS_PER_CORE", "NTASKS_PER_GPU", "NTASKS_PER_TRES", "TRES_PER_TASK", "CPUS_PER_TASK"),
        *("CPUS_PER_GPU", "GPUS", "GPUS_PER_NODE", "GPUS_PER_SOCKET", "GPUS_PER_TASK", "GRES", "STEP_GRES"),
        *("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU", "CPU_BIND", "MEM_BIND", "GPU_BIND"),
        *(
            "THREADS",
            "THREADS_PER_CORE",
            "NCORES_PER_SOCKET",
            "NSOCKETS_PER_NODE",
            "CORE_SPEC",
            "THREAD_SPEC",
        ),
        *("DISTRIBUTION", "DIST_PLANESIZE", "ARBITRARY_NODELIST", "HOSTFILE", "SPREAD_JOB", "USE_MIN_NODES"),
        *("EXACT", "EXCLUSIVE", "OVERCOMMIT", "OVERLAP", "NO_KILL", "KILL_BAD_EXIT", "WAIT", "IMMEDIATE"),
        *("TIMELIMIT", "SIGNAL", "TEST_EXEC", "SRUN_MULTI", "REMOTE_CWD", "WORKING_DIR", "CONTAINER"),
        *("STDINMODE", "STDOUTMODE", "STDERRMODE", "LABELIO", "OPEN_MODE"),
    )
) | {"SRUN_CPUS_PER_TASK", "SRUN_CONTAINER", "SRUN_EXPORT_ENV", "SRUN_DEBUG"}
ELSEWHERE = ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")  # jobs go to clusters where nobody looks for them
OTHERWISE_CALLED = {
    "time": ("TIMELIMIT",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "signal_delay_s": ("SIGNAL",),
    "cpus_per_task": ("CPUS_PER_TASK", "CPUS_PER_GPU"),  # which exclude each other
    "gpus_per_node": (
        *("GPUS_PER_NODE", "GPUS", "GPUS_PER_TASK", "GPUS_PER_SOCKET", "TRES_PER_TASK", "TRES_PER_NODE"),
    ),
}


def for_sbatch(current: Mapping[str, str], stated: Iterable[str]) -> dict[str, str]:
    """Return what sbatch is to see of an environment.

    The user's defaults, such as SBATCH_ACCOUNT, stay, but for options that the script states: variables
    would overrule these. Defaults of srun that would make another step don't: the script states it whole.
    Typed inside a job, nothing of that job stays.

    Args:
        current: the environment here.
        stated: sbatch's options in the script, such as `cpus_per_task`.
    """
    stated = set(stated)
    overruling = NEVER.union(OF_A_STEP, *map(variables, stated))
    if "gpus_per_node" in stated and "SBATCH_GRES" in current:
        _, others = gres.split(current["SBATCH_GRES"])
        kept = {"SBATCH_GRES": ",".join(others)} if others else {}
        current = {name: value for name, value in current.items() if name != "SBATCH_GRES"} | kept
    inside = any(name in current for name in MARKS)

    def stays(name: str) -> bool:
        if name in overruling:
            return False
        return not inside or name in OF_THE_SITE or not (name.startswith(OF_A_JOB) or name in OF_ITS_GPUS)

    return {name: value for name, value in current.items() if stays(name)}


def variables(option: str) -> list[str]:
    """Return the variables by which a user gives sbatch a default for one of its options."""
    return [f"SBATCH_{name}" for name in OTHERWISE_CALLED.get(option, (option.upper(),))]


def exported(current: Mapping[str, str], typed: object = None) -> set[str]:
    """Return the names of the variables that sbatch hands on to a job.

    Args:
        current: the environment here.
        typed: the value of its option --export; None: SBATCH_EXPORT says.
    """
    words = str(current.get("SBATCH_EXPORT", "ALL") if typed is None else typed).split(",")
    if any(word.strip().upper() == "ALL" for word in words):
        return set(current)
    return {word.partition("=")[0].strip() for word in words if word.strip().upper() not in {"NONE", "NIL"}}


def refusal(current: Mapping[str, str]) -> str | None:
    """Return why nothing is submitted from this environment; None if it is."""
    named = [f"{name}={current[name]}" for name in ELSEWHERE if current.get(name)]
    if not named:
        return None
    return (
        f"{', '.join(named)}: jobs on another cluster can't be found and followed from here; unset it, and "
        "type this on a login node of that cluster"
    )
