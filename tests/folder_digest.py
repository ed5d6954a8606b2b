"""What is on the disk below a folder, as one value: a refusal must leave it as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(folder: Path) -> str:
    """SHA-256 over the paths and contents of all files, folders and links."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content = (
            b"/"
            if path.is_dir()
            else str(path.readlink()).encode()
            if path.is_symlink()
            else path.read_bytes()
        )
        found.update(f"{path.relative_to(folder)} {hashlib.sha256(content).hexdigest()}\n".encode())
    return found.hexdigest()
