"""The folder in which a cluster keeps everything; and an end to those that a killed process left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

PREFIX = "dnw-slurm-"


@dataclass
class Workspace:
    """A folder under the system's temporary one, marked as in use for as long as this process lives."""

    folder: Path
    descriptor: int  # its lock

    @classmethod
    def make(cls) -> Workspace:
        """A new folder; those whose owners died are removed on the way."""
        for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _remove_if_orphaned(left)
        hidden = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        descriptor = _locked(hidden)
        assert descriptor is not None
        hidden.chmod(0o755)
        # Only a folder that is locked bears the name by which orphans are recognized.
        return cls(hidden.rename(hidden.with_name(hidden.name.removeprefix("."))), descriptor)

    def remove(self) -> None:
        """Remove it with all that it holds."""
        shutil.rmtree(self.folder)
        os.close(self.descriptor)


def _remove_if_orphaned(folder: Path) -> None:
    if folder.is_dir() and (descriptor := _locked(folder)) is not None:
        if folder.exists():  # else another process was removing it while this one opened it
            shutil.rmtree(folder)
        os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """The descriptor that holds the lock of a folder; None if another process does, or has removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
