import pytest

from launch.scheduler.slurm_states import STATES, UNKNOWN, slurm_state


@pytest.mark.parametrize(
    ("told", "name"),
    [("CANCELLED by 1000", "CANCELLED"), ("RUNNING+", "RUNNING"), ("NODE_FAIL", "NODE_FAIL")],
)
def test_as_squeue_and_sacct_write_them(told: str, name: str) -> None:
    assert slurm_state(told) is STATES[name]


def test_what_is_not_known_has_not_ended() -> None:
    assert slurm_state("LATER_SLURM") is UNKNOWN
    assert (UNKNOWN.shown, UNKNOWN.works) == ("running", True)


def test_nothing_works_once_it_has_ended_and_only_then_is_there_a_reason() -> None:
    for name, state in STATES.items():
        assert not (state.shown == "ended" and state.works), name
        assert state.shown == "ended" or not state.said or name == "REVOKED", name
        assert state.cause in {None, state.said, "requeued"}, name


def test_a_job_that_another_cluster_has_started_may_be_at_work() -> None:
    """`squeue --all` shows it so where the federation has given it away; a lock's holder is not gone then."""
    state = slurm_state("REVOKED")
    assert (state.shown, state.works) == ("running", True)
