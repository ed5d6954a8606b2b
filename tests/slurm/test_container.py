"""A run whose agent and workers are in a container, on nodes of which the image knows nothing."""

from pathlib import Path

import pytest
from containers import contained
from worker import assert_same_weights

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm import packages
from slurm.cluster import Cluster
from slurm.events import all_logs, finishes, is_training, preempted, steps, the_run, typed, workers
from slurm.job import until

INODES = 20  # of a run besides logs and checkpoints
pytestmark = pytest.mark.xdist_group("slurm events")
NO_BWRAP = pytest.mark.skipif(
    bool(packages.missing(packages.CONTAINER)), reason="bubblewrap is not installed"
)


@pytest.mark.parametrize(
    "is_real",
    [
        pytest.param(False, id="stand-in", marks=NO_BWRAP),
        pytest.param(True, id="apptainer", marks=[pytest.mark.soak, contained.NO_APPTAINER]),
    ],
)
def test_in_a_container_a_preempted_run_goes_on_and_has_the_same_bits(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, is_real: bool
) -> None:
    """On two nodes. What leads and requeues is outside: the image has no Slurm, and sees no environment."""
    cluster.wait_idle()
    image = contained.image(tmp_path / "image")
    runtime = contained.REAL if is_real else contained.runtime(tmp_path / "bin")
    variables = " ".join(f"{name}={value}" for name, value in contained.told().items())
    path = f'cluster.setup=["export {variables} PATH={runtime}:$PATH"]'
    said = typed(cluster, few_images, tmp_path, f"cluster.container={image}", path)
    assert "apptainer or singularity: not found on this machine; the nodes must have it" in said
    run = the_run(tmp_path)
    until(lambda: is_training(run) and steps(run) > 12, timeout_s=180)
    roots = {Path(f"/proc/{pid}/root").stat().st_dev for pid in workers(run).values()}
    assert Path("/").stat().st_dev not in roots
    preempted(cluster, run)
    finishes(run)
    first, *others = ledger.read(run)
    assert (first.reason, first.cause) == ("stopped", "preempted"), all_logs(run)
    assert [one.reason for one in others] == ["done"], all_logs(run)
    assert_same_weights(run, undisturbed)
    for one in (run, undisturbed):  # where file systems have a quota of inodes
        kept = [path for path in one.folder.rglob("*") if not {"logs", "checkpoints"} & {*path.parts}]
        assert len([path for path in kept if "log" not in path.name]) <= INODES, kept
