"""The kernel's locks on files (flock), where the file system has them.

Some don't: Lustre mounted without `-o flock`, NFS whose lock daemon is away. What stands in for a lock
there is for the caller to know; that there is none is not an error to end with.
"""

from __future__ import annotations

import errno
import fcntl
from typing import IO, Literal

Outcome = Literal["locked", "held", "none"]
# 524 is ENOTSUPP, which the kernel should keep to itself and some file systems let out.
_NONE = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, 524})


def flock(file: int | IO[bytes], shared: bool = False, wait: bool = False) -> Outcome:
    """Lock an open file until it is closed.

    Args:
        file: or its descriptor.
        shared: beside others who share it.
        wait: until whoever holds it lets go.

    Returns:
        "held" if another one holds it, "none" where the file system has no locks.

    Raises:
        OSError: for any other reason.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except OSError as error:
        if error.errno not in _NONE:
            raise
        return "none"
    return "locked"
