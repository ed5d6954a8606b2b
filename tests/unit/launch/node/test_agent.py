"""What torchrun's agent makes of workers that failed; how it stops, test_job.py shows."""

import signal
import subprocess
import sys
from pathlib import Path
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_stop_is_no_exception_in_what_is_being_imported(number: signal.Signals, tmp_path: Path) -> None:
    """A library may swallow it: then the attempt would go on with half of another one."""
    (tmp_path / "half.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(1)\nwhole = True\n"
    )
    (tmp_path / "torch.py").write_text("try:\n    import half\nexcept BaseException:\n    pass\n")
    program = (
        f"import sys; from launch.node import agent; sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.exit(agent.main(['-m', 'json', 'RUN']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "")
