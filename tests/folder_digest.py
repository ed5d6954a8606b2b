"""What is on the disk below a folder, as one value: a refusal must leave it as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(folder: Path) -> str:
    """Return a digest of names, kinds, links and contents in a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        whole.update(f"{path.relative_to(folder)} {facts.st_mode}".encode())
        if path.is_symlink():
            whole.update(str(path.readlink()).encode())
        elif path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()
