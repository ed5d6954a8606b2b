"""code=new: a run that was stopped, or failed, goes on with the present code.

The code that it had is kept beside it. The ledger says from which attempt on the new one is used, and
result.json from which step on: the bits of the result may differ from those of either code alone. The ledger
is told first: killed in between, a run has a record too much, or no code, with which nothing starts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.frozen_code import read_record
from dnw.runs.lock import HeldError, Lock
from launch import snapshot
from launch.errors import LaunchError


def take_over(run: Run, pack: Callable[[], bytes]) -> bool:
    """Replace the code of a run by the working tree's; whether they differed.

    Args:
        run: one that nobody works on.
        pack: returns the present code, in a zip file.

    Raises:
        LaunchError: an attempt works on the run, or there is too much code.
        OSError: the disk is full, or the like.
    """
    building = Path(tempfile.mkdtemp(prefix=".preparing-", dir=run.folder.parent))
    try:
        with Lock.take(run.lock):
            (building / "code.zip").write_bytes(pack())
            before, made = read_record(run.code), read_record(building / "code.zip")
            if before.get("files") == made["files"] and not snapshot.changed(run.code):
                return False
            attempt = ledger.next_attempt(run)
            facts = {name: made[name] for name in ("digest", "commit", "dirty")}
            ledger.code(run, attempt, **facts, before=before.get("digest"))
            _keep(run, attempt)
            (building / "code.zip").rename(run.code)
            return True
    except HeldError as error:
        raise LaunchError(f"code: {run.name} is at work ({error}); stop it first") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _keep(run: Run, attempt: int) -> None:
    """Put the code away that was used until this attempt."""
    code, kept = run.code, run.code_before(attempt)
    if kept.exists():  # the code that is there now was never used
        shutil.rmtree(code) if code.is_dir() else code.unlink(missing_ok=True)
    elif code.exists():
        code.rename(kept.with_suffix(code.suffix))
