"""The code that a run keeps: one zip file, or the folder that an earlier version of this project has made.

A folder of some 400 files a run is more than file systems with a quota of files bear. The job imports what it
needs from the zip file itself; agent and workers, whose code reads files beside it, get it unpacked in the
node's temporary folder, for one attempt.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote_from_bytes

RECORD = "code.json"
REMEDY = "submit it again with code=new, to go on with the present code, or with fresh=true, to begin anew"
MADE = (1980, 1, 1, 0, 0, 0)  # the same files give the same bytes
DAMAGES = (OSError, KeyError, ValueError, zipfile.BadZipFile, NotImplementedError)


class DamagedError(OSError):
    """Code that isn't as it was frozen; the message names what helps."""

    def __init__(self, code: Path, why: str) -> None:
        super().__init__(f"{code}: {why}; {REMEDY}")


def pack(record: Mapping[str, Any], files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return a zip file of files, contents and modes by name, with a record of them."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(RECORD, MADE), json.dumps(record, indent=1) + "\n")
        for name, (content, mode) in files.items():
            info = zipfile.ZipInfo(_member(name), MADE)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(info, content)
    return packed.getvalue()


def read_record(code: Path) -> dict[str, Any]:
    """Return what was noted of the code: commit, dirty, digest, files; empty where that is damaged."""
    try:
        record = json.loads((code / RECORD).read_bytes() if code.is_dir() else _one(code, RECORD))
    except DAMAGES:
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("files"), dict) else {}


def digests(code: Path, names: Mapping[str, str]) -> dict[str, str | None]:
    """Return the SHA-256 of each file as it is there, in hex; None where it can't be read."""
    return {name: None if content is None else sha256(content) for name, content, _ in _each(code, names)}


def sha256(content: bytes) -> str:
    """Return a digest in hex."""
    return hashlib.sha256(content).hexdigest()


def unpacked(code: Path, folder: Path) -> Path:
    """Return a folder with the code: a new one in `folder`, or where it lies, if that is one.

    Raises:
        DamagedError: a file isn't what was frozen.
        OSError: the disk is full, or the like; the message names `folder`.
    """
    if code.is_dir():
        return code
    files = read_record(code).get("files", {})
    if not files:
        raise DamagedError(code, f"{RECORD} is missing or damaged in it")
    for name, content, mode in _each(code, files):
        if content is None or sha256(content) != files[name]:
            raise DamagedError(code, f"{name} is not what was frozen")
        try:
            path = folder / "code" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        except OSError as error:
            room = "make room, or set TMPDIR to a folder that has some"
            raise OSError(f"{folder}: {error.strerror}, where the run's code is unpacked; {room}") from None
    return folder / "code"


def _each(code: Path, names: Mapping[str, str]) -> Iterator[tuple[str, bytes | None, int]]:
    """Yield each file's name, content and mode; no content where it can't be read."""
    if code.is_dir():
        yield from ((name, _content(code / name), 0) for name in names)
        return
    try:
        with zipfile.ZipFile(code) as archive:
            for name in names:
                try:
                    info = archive.getinfo(_member(name))
                    yield name, archive.read(info), info.external_attr >> 16
                except DAMAGES:
                    yield name, None, 0
    except DAMAGES:
        yield from ((name, None, 0) for name in names)


def _one(code: Path, name: str) -> bytes:
    with zipfile.ZipFile(code) as archive:
        return archive.read(name)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _member(name: str) -> str:
    """Return what a file is called in the zip file, which takes only text for a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(str(PurePosixPath(name))))
    return name
