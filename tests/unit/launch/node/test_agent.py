"""What torchrun's agent makes of workers that failed; how it stops, test_job.py shows."""

from types import SimpleNamespace

import pytest

from launch.node import agent


def failure(exitcode: int, timestamp: int = 100) -> SimpleNamespace:
    return SimpleNamespace(exitcode=exitcode, timestamp=timestamp, pid=7)


@pytest.mark.parametrize(
    ("failures", "code", "said"),
    [
        ({1: failure(1)}, 1, "worker of rank 1 (process 7) ended with exit code 1"),
        ({1: failure(-9)}, 137, "worker of rank 1 (process 7) was killed by SIGKILL"),
        ({0: failure(-11)}, 139, "rank 0 (process 7) was killed by SIGSEGV"),
        ({0: failure(70)}, 70, "worker of rank 0 (process 7) ended with exit code 70"),
        ({0: failure(75)}, 75, ""),
    ],
)
def test_which_worker_is_to_blame(
    failures: dict[int, SimpleNamespace], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agent._report(failures) == code
    assert said in capsys.readouterr().err
