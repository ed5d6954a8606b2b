"""The temporary folder of an attempt on a node, with the run's code in it; and files enough to open.

What is wrong here is this node's fault, and would be again at once: it is left after the first time.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dnw.runs import frozen_code
from dnw.temporary_folder import temporary_folder
from launch.errors import NodeError

MOST_OPEN = 65536  # beyond what any process here opens; some programs close as many as they are allowed
OWN_OPEN = 60  # files of a process without its peers: 40 are too few for one loader, 64 enough


@contextmanager
def folder(code: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a temporary folder, removed at the end, and where the run's code lies, unpacked there.

    Raises:
        NodeError: there is no room for it, or none can be written to.
        DamagedError: the code isn't what was frozen, on whichever node.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="dnw-", dir=temporary_folder())
    except OSError as error:
        raise NodeError(f"no temporary folder: {error.strerror or error}; set TMPDIR to one") from None
    with made as name:
        try:
            there = frozen_code.unpacked(code, Path(name))
        except frozen_code.DamagedError:
            raise
        except OSError as error:
            raise NodeError(str(error)) from None
        yield Path(name), there


def allow_open_files(processes: int) -> None:
    """Let this process, and those that it starts, open as many files as this node allows.

    Args:
        processes: of the whole attempt, each of which may be connected to each.

    Raises:
        NodeError: that is too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < (needed := OWN_OPEN + processes):
        raise NodeError(
            f"a process may open {most} files here, and {needed} are needed for {processes} processes: raise "
            "that limit (ulimit -n)"
        )
