"""How a job that stopped on request goes on under Slurm, where ending is the end: nothing requeues itself.

USR2 comes from us: `--signal` has Slurm send it ahead of the time limit. What follows without help is
TIMEOUT, so the job asks to be requeued. TERM comes from preemption, scancel, `scontrol requeue` or a lost
node, and looks the same in all of them. But Slurm has decided already what becomes of the job, provided that
it is still there to be killed: a job that ends by itself within its grace time has merely failed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from dnw.ledger import Attempt

LONGEST_GRACE_S = 900  # a partition's GraceTime, or KillWait; then the TERM was someone's kill


def go_on(attempt: Attempt, asked: signal.Signals) -> None:
    """Have Slurm start this job again, if that is what the signal was for.

    Args:
        attempt: the one that stopped, everything saved.
        asked: the signal that it stopped for.
    """
    if asked is signal.SIGTERM:
        time.sleep(LONGEST_GRACE_S)
    elif asked is signal.SIGUSR2 and _has_progressed(attempt):
        _requeue(os.environ["SLURM_JOB_ID"])
    elif asked is signal.SIGUSR2:
        _say("no step was made within the time limit: raise cluster.timeout_min; not started again")


def _has_progressed(attempt: Attempt) -> bool:
    if attempt.start is None or attempt.end is None:
        return False
    return bool(attempt.end.get("step", 0) > attempt.start.get("step", 0))


def _requeue(job: str) -> None:
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    if done.returncode:
        _say(f"scontrol requeue {job}: {done.stderr.strip()}; type the submit command again to go on")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
