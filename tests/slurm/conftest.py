from collections.abc import Iterator
from pathlib import Path

import pytest

from dnw.runs.folder import Run
from slurm import packages
from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import finishes, the_run, typed


@pytest.fixture(scope="session")
def slurm_here() -> None:
    """Skips where no cluster can be raised."""
    if reason := packages.why_not():
        pytest.skip(f"a Slurm cluster: {reason}")


@pytest.fixture(scope="session")
def cluster(slurm_here: None) -> Iterator[Cluster]:
    """Four nodes; preempted jobs get TERM, as on most clusters. Slurm's clock runs ten times as fast."""
    with Cluster(Settings(speed=10)) as raised:
        yield raised


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nothing happens to."""
    here = tmp_path_factory.mktemp("undisturbed")
    typed(cluster, few_images, here)
    run = the_run(here)
    finishes(run)
    return run
