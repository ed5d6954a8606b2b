"""Which options of sbatch can't be had as such, and what is said of each."""

import pytest

from launch.scheduler import sbatch_options


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("gpus-per-node", "has a setting of its own: cluster.gpus_per_node"),
        ("cpus-per-gpu", "has a setting of its own: cluster.cpus_per_task"),
        ("array", "is set by the launcher itself"),
        ("test-only", "would make no job that can be followed and requeued; leave it out"),
        ("no-kill", "would make no job that can be followed and requeued; leave it out"),
        ("--gres", "is no sbatch option"),
        (
            "clusters",
            ": jobs on another cluster can't be found from here; type it on a login node of that cluster",
        ),
    ],
)
def test_an_option_that_cant_be_typed(option: str, said: str) -> None:
    (line,) = sbatch_options.refusals([option], [])
    where = f"cluster.additional_parameters: {option!r}"
    assert line == where + said if said.startswith(":") else line == f"{where} {said}"


def test_any_other_option_is_slurms_business() -> None:
    assert not list(sbatch_options.refusals(["reservation", "mail-type"], ["--cpu-bind=none"]))
    assert len(list(sbatch_options.refusals([], ["-M other", "--clusters=other"]))) == 2
