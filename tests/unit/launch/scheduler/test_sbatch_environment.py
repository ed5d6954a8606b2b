import pytest

from launch.scheduler.sbatch_environment import for_sbatch, refusal, variables

OUTSIDE = {
    **{"PATH": "/bin", "SBATCH_ACCOUNT": "phys", "SBATCH_TIMELIMIT": "5", "SBATCH_ARRAY_INX": "1"},
    **{"SLURM_CONF": "/etc/slurm.conf", "CUDA_VISIBLE_DEVICES": "0"},
}
OF_A_JOB = {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "9", "SRUN_DEBUG": "3", "SUBMITIT_EXECUTOR": "slurm"}


def test_defaults_stay_but_for_what_the_script_states() -> None:
    kept = {name: value for name, value in OUTSIDE.items() if name != "SBATCH_ARRAY_INX"}
    assert for_sbatch(OUTSIDE, []) == kept
    assert "SBATCH_TIMELIMIT" not in for_sbatch(OUTSIDE, ["time"])
    assert "SBATCH_ACCOUNT" not in for_sbatch(OUTSIDE, ["account"])
    assert not for_sbatch({"SBATCH_CPUS_PER_GPU": "8"}, ["cpus_per_task"])


@pytest.mark.parametrize("gone", [None, "SLURM_JOB_ID"])
def test_nothing_of_the_job_around_us_stays(gone: str | None) -> None:
    """Its memory would exclude the new one's, if srun took it there; some have unset its id alone."""
    around = OUTSIDE | OF_A_JOB | {"SLURM_NODELIST": "n1"}
    assert for_sbatch({name: value for name, value in around.items() if name != gone}, []) == {
        name: OUTSIDE[name] for name in ("PATH", "SBATCH_ACCOUNT", "SBATCH_TIMELIMIT", "SLURM_CONF")
    }


def test_options_that_variables_call_otherwise() -> None:
    assert variables("cpus_per_task") == ["SBATCH_CPUS_PER_TASK", "SBATCH_CPUS_PER_GPU"]
    assert variables("mem") == ["SBATCH_MEM_PER_NODE", "SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU"]


def test_what_would_make_another_job_or_another_answer_is_left_out() -> None:
    names = ["NO_KILL", "CONTAINER", "INPUT", "DEBUG", "WAIT", "OUTPUT", "ERROR", "OPEN_MODE", "ARRAY_INX"]
    names += ["REQUEUE", "NO_REQUEUE"]  # the script states one of them, cluster.requeue
    theirs = {f"SBATCH_{name}": "1" for name in names}
    assert for_sbatch({**theirs, "SBATCH_RESERVATION": "week"}, []) == {"SBATCH_RESERVATION": "week"}


@pytest.mark.parametrize("name", ["SBATCH_CLUSTERS", "SLURM_CLUSTERS"])
def test_jobs_go_to_no_other_cluster(name: str) -> None:
    assert refusal({**OUTSIDE, name: ""}) is None
    said = refusal({**OUTSIDE, name: "big"})
    assert said is not None
    assert said.startswith(
        f"{name}=big: jobs on another cluster can't be found and followed from here; unset"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("SLURM_TRES_PER_TASK", "SLURM_CPUS_PER_TASK", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_MEM_PER_CPU"),
        *("SLURM_CPU_BIND", "SLURM_GPUS_PER_TASK", "SLURM_STEP_GRES", "SLURM_DISTRIBUTION", "SLURM_WAIT"),
        *("SRUN_CPUS_PER_TASK", "SRUN_EXPORT_ENV", "SRUN_CONTAINER", "SLURM_HOSTFILE", "SLURM_TIMELIMIT"),
    ],
)
def test_no_default_of_srun_makes_another_step(name: str) -> None:
    """Of a site's module, or left behind by a job whose marks somebody has unset."""
    assert for_sbatch({**OUTSIDE, name: "1"}, []) == for_sbatch(OUTSIDE, [])


def test_what_leaves_the_step_as_it_is_stays() -> None:
    theirs = {"SLURM_HINT": "nomultithread", "SLURM_UMASK": "0027", "SLURM_MPI_TYPE": "pmix"}
    assert for_sbatch(theirs, []) == theirs
