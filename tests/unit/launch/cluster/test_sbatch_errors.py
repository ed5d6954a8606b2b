"""What sbatch says, as one line; the words are those of Slurm 22.05."""

import pytest

from launch.cluster import sbatch_errors

STATED = {
    option: f"{option}=1" for option in ("account", "partition", "qos", "time", "nodes", "mem", "array")
}
FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (f"sbatch: error: invalid partition specified: x\n{FAILED}Invalid partition name specified\n",
         "partition=1: Slurm refuses the job: invalid partition specified: x; Invalid partition name "
         "specified"),
        (f"{FAILED}Invalid account or account/partition combination specified",
         "account=1, partition=1: Slurm refuses the job: Invalid account or account/partition combination "
         "specified"),
        (f"{FAILED}Invalid qos specification", "qos=1: Slurm refuses the job: Invalid qos specification"),
        (f"sbatch: error: AssocMaxJobsLimit\n{FAILED}Job violates accounting/QOS policy (job submit limit)",
         "qos=1, account=1, nodes=1, time=1, array=1: Slurm refuses the job: AssocMaxJobsLimit; Job violates "
         "accounting/QOS policy (job submit limit)"),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{FAILED}Job violates accounting/QOS policy",
         "time=1, qos=1: Slurm refuses the job: QOSMaxWallDurationPerJobLimit; Job violates accounting/QOS "
         "policy"),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}Job violates accounting/QOS policy",
         "array=1, qos=1, account=1: Slurm refuses the job: AssocMaxSubmitJobLimit; Job violates "
         "accounting/QOS policy"),
        (f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",
         "time=1, partition=1: Slurm refuses the job: Requested time limit is invalid (missing or exceeds "
         "some limit)"),
        ("sbatch: error: Invalid --time specification",
         "time=1, partition=1: Slurm refuses the job: Invalid --time specification"),
        (f"{FAILED}Node count specification invalid",
         "nodes=1, partition=1: Slurm refuses the job: Node count specification invalid"),
        ("allocation failure: Requested node configuration is not available",
         "nodes=1, mem=1, partition=1: Slurm refuses the job: Requested node configuration is not available"),
        (f"{FAILED}Invalid job array specification",
         "array=1: Slurm refuses the job: Invalid job array specification"),
        ("allocation failure: Invalid feature specification",
         "cluster.constraint (not given): Slurm refuses the job: Invalid feature specification"),
        (f"{FAILED}Invalid generic resource (gres) specification",
         "cluster.gpus_per_node (not given): Slurm refuses the job: Invalid generic resource (gres) "
         "specification"),
        (f"{FAILED}User's group not permitted to use this partition",
         "partition=1: Slurm refuses the job: User's group not permitted to use this partition"),
        (f"{FAILED}Required node not available (down, drained or reserved)",
         "cluster.exclude (not given): Slurm refuses the job: Required node not available (down, drained or "
         "reserved)"),
        ("sbatch: error: lua: resolve this first: no wckey\nsbatch: error: lua: (slurmctld, jobs@site)\n"
         f"{FAILED}Unspecified error",
         "sbatch: Slurm refuses the job: lua: resolve this first: no wckey; lua: (slurmctld, jobs@site); "
         "Unspecified error"),
        ('sbatch: error: slurm_set_addr: Unable to resolve "ctl"',
         'sbatch: no controller of Slurm answers here: slurm_set_addr: Unable to resolve "ctl"; '
         "cluster=local runs in the background of this machine, python launch/local.py in the foreground"),
        ("sbatch: error: Unable to contact slurm controller (connect failure)",
         "sbatch: no controller of Slurm answers here: Unable to contact slurm controller (connect failure); "
         "cluster=local runs in the background of this machine, python launch/local.py in the foreground"),
        ("\n", "sbatch: Slurm refuses the job: without a word"),
    ],
)  # fmt: skip
def test_one_line_that_names_the_settings(said: str, line: str) -> None:
    assert sbatch_errors.explain(said, STATED) == line
