from collections.abc import Iterator

import pytest

from slurm import packages
from slurm.cluster import Cluster
from slurm.configuration import Settings


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
