"""The folder for temporary files, short enough for the sockets by which processes meet."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

LONGEST = 107  # bytes of a socket's path: `sun_path` of <sys/un.h>, less the zero at its end
BELOW = len("/dnw-abcdefgh/pymp-abcdefgh/listener-abcdefgh")  # a job's folder, and multiprocessing's in it
OTHERS = ("/tmp", "/var/tmp", "/dev/shm")


def temporary_folder() -> str:
    """Return TMPDIR, or what stands for it; another folder if a socket's path in it would be too long.

    Raises:
        OSError: no folder that is short enough can be written to.
    """
    chosen = tempfile.gettempdir()
    if _fits(chosen):
        return chosen
    for folder in OTHERS:
        if Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise OSError(f"TMPDIR={chosen}: too long for sockets, and none of {', '.join(OTHERS)} can be written to")


def _fits(folder: str) -> bool:
    return len(os.fsencode(folder)) + BELOW <= LONGEST
