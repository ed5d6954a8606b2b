"""Files of weights, looked into without torch: what one is, whether it is whole, and its digest."""

from __future__ import annotations

import functools
import hashlib
import json
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from dnw.config import ConfigError
from shards.errors import did_you_mean
from shards.files.regular_file import open_file

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
_CHUNK = 1 << 20
_LENGTH = 8  # bytes at the head of a safetensors file: how long its header is
_LONGEST = 100_000_000  # bytes of that header, which the format allows
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # of torch.save before version 1.6
_PLAIN = frozenset({"torch", "torch._utils", "torch._tensor", "torch.serialization", "torch.storage"})
_HARMLESS = _PLAIN | {"collections", "builtins", "__builtin__", "_codecs", "numpy"}
_WANTED = "must be a file of safetensors, or one of torch.save(model.state_dict(), FILE)"
_OTHERS = (
    (b"\x89HDF", "an HDF5 file, as Keras writes"),
    (b"\x93NUMPY", "an array of NumPy's"),
    (b"version https://git-lfs", "a pointer of Git LFS: git lfs pull fetches the file"),
    (b"<", "HTML or XML, as a server answers in place of a file"),
    (b"\x80", "a pickle, which may execute anything"),
)


def check(path: Path) -> None:
    """Refuse what isn't a whole file of safetensors' or of torch.save's, as far as can be told here.

    Raises:
        ConfigError: it isn't there, can't be read, is cut off or another kind of file; says what to name.
    """
    if not path.exists():
        raise ConfigError(f"init: {path}: {_not_there(path)}")
    if path.is_dir():
        raise ConfigError(f"init: {path}: a folder; {_instead(path)}")
    try:
        with open_file(path) as file:
            head = file.read(64)
        problem = _problem(path, head)
    except OSError as error:
        raise ConfigError(f"init: {path}: {(error.strerror or str(error)).lower()}") from None
    if problem:
        raise ConfigError(f"init: {path}: {problem}")


def is_safetensors(path: Path) -> bool:
    """Return whether a file that `check` passes is one of safetensors'."""
    with open_file(path) as file:
        return file.read(_LENGTH + 1)[_LENGTH:] == b"{"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; of the runs of a sweep, computed once."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@functools.cache
def _digest(path: Path, _size: int, _changed_ns: int) -> str:
    found = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _problem(path: Path, head: bytes) -> str:
    """Return what is wrong with a file that begins with `head`; nothing if it may be loaded."""
    if not head:
        return "empty"
    if head[_LENGTH : _LENGTH + 1] == b"{":  # behind a length that may look like the beginning of anything
        return _problem_of_safetensors(path)
    if head.startswith(b"PK"):
        return _problem_of_zip(path)
    if head.startswith(_LEGACY):
        return ""  # whether it is whole shows when it is read
    for beginning, kind in _OTHERS:
        if head.startswith(beginning):
            return f"{kind}; {_WANTED}"
    return _problem_of_safetensors(path)


def _problem_of_safetensors(path: Path) -> str:
    size = path.stat().st_size
    with open_file(path) as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        text = file.read(length) if 1 < length <= _LONGEST else b""
    if not text.startswith(b"{"):
        return _WANTED
    if len(text) < length:
        return "cut off; copy it again"
    try:
        header = json.loads(text)
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"), default=0)
        metadata = dict(header.get("__metadata__", {}))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return f"damaged at its head; {_WANTED}"
    if "dnw" in metadata:
        return "a network without its dead parts, as dnw.export writes it; name a checkpoint of its run"
    wanted = _LENGTH + length + end
    what = "cut off" if size < wanted else "damaged"
    return "" if size == wanted else f"{what}, {size:,} bytes in place of {wanted:,}; copy it again"


def _problem_of_zip(path: Path) -> str:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            names = {name.rpartition("/")[2]: name for name in archive.namelist()}
            if "constants.pkl" in names:
                return "a TorchScript program; save its state_dict() with torch.save"
            if "data.pkl" not in names:
                return f"a zip file; {_WANTED}"
            foreign = sorted(set(_foreign(archive.read(names["data.pkl"]))))
    except (zipfile.BadZipFile, EOFError, ValueError, zlib.error, NotImplementedError, RuntimeError):
        return "cut off, damaged, or no zip file of torch's; copy it again"
    if foreign:
        return f"holds objects of {', '.join(foreign[:3])}, not just tensors; save model.state_dict() alone"
    return ""


def _foreign(pickled: bytes) -> Iterator[str]:
    """Yield the classes in a pickle that make more than tensors, numbers and text; of protocol 2, torch's."""
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "GLOBAL":
            module, _, name = str(argument).rpartition(" ")
            if module not in _HARMLESS and not module.startswith("numpy."):
                yield f"{module}.{name}"


def _not_there(path: Path) -> str:
    if not path.parent.is_dir():
        return "not there, nor is its folder"
    nearest = did_you_mean(path.name, [one.name for one in path.parent.iterdir()])
    return f"not there{nearest}"


def _instead(folder: Path) -> str:
    """Return which file in a folder to name."""
    if (folder / "config.yaml").exists() and (folder / "checkpoints").is_dir():
        return f"of a run, name a checkpoint: init={folder / 'checkpoints' / 'best.pt'}"
    found = sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES)
    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    return f"name a file in it: {', '.join(found[:3])}{more}" if found else f"{_WANTED}"
