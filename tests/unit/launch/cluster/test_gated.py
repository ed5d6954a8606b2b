"""A job of this machine that waits for others, as the process that submitit makes of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_folder import finish, make, submit

from dnw.preemption import STOPPED

SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from launch.cluster.gated import Gated
run, other = map(Path, sys.argv[1:])
Gated(partial(print, "works"), run, (other,), 1)()
"""


@pytest.mark.parametrize("is_stopped", [False, True])
def test_it_begins_once_the_other_is_done(tmp_path: Path, is_stopped: bool) -> None:
    run, other = make(tmp_path, "a-0000000001"), make(tmp_path, "b-0000000002")
    submit(other, "7", cluster="foreground", host="elsewhere")  # at work, for all that is known
    other.lock.write_text("")
    words = [sys.executable, "-c", SCRIPT, str(run.folder), str(other.folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        if is_stopped:
            process.send_signal(signal.SIGTERM)
        else:
            finish(other)
        assert process.wait(timeout=60) == (STOPPED if is_stopped else 0)
        assert process.stdout.read() == ("" if is_stopped else "works\n")
    assert not run.attempts.exists()
