"""A copy of the code as it is now, uncommitted edits included: what every attempt of a run executes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dnw.runs import frozen_code
from dnw.runs.frozen_code import RECORD, read_record
from dnw.user_classes import FOLDER
from launch.errors import LaunchError
from shards.files.folder_entries import files_below, matching

ROOT = Path(__file__).resolve().parent.parent
# the code, where git can't list it; other projects, too, have plugins in the folder that Hydra looks into
PACKAGES = ("launch", "dnw", "shards", "configs")
NOT_RUN = frozenset({"tests", "bench"})  # no attempt executes these
LIMIT_MB = 64  # code is small: more than that is data that git was not told to ignore


def write(path: Path, root: Path = ROOT, outside: Iterable[Path] = ()) -> None:
    """Put the code under `root` into a zip file (dnw/runs/frozen_code.py).

    Args:
        path: of the zip file.
        root: folder of the code.
        outside: folders of which nothing is taken.

    Raises:
        LaunchError: the code is larger than LIMIT_MB.
    """
    path.write_bytes(pack(root, tuple(outside)))


def pack(
    root: Path = ROOT, outside: tuple[Path, ...] = (), files: tuple[tuple[str, bytes], ...] = ()
) -> bytes:
    """Return the code under `root` in a zip file.

    Taken is what git tracks or would track, as it is in the working tree; without git, the packages.
    Nothing under the folders `outside` is taken (run folders, shards). `files` come besides, contents by
    names: those of the user's own classes.

    Raises:
        LaunchError: the code is larger than LIMIT_MB.
    """
    names, is_checkout = _names(root, outside)
    _check_size(root, names)
    modes = {str(name): (root / name).stat().st_mode & 0o777 for name in names}
    contents = {str(name): (root / name).read_bytes() for name in names} | dict(files)
    digests = {name: frozen_code.sha256(content) for name, content in contents.items()}
    digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    commit, dirty = _git_state(root) if is_checkout else (None, None)
    record = {"commit": commit, "dirty": dirty, "digest": digest, "files": digests}
    return frozen_code.pack(
        record, {name: (content, modes.get(name, 0o644)) for name, content in contents.items()}
    )


def check(root: Path = ROOT, outside: Iterable[Path] = ()) -> None:
    """Refuse what `write` would refuse. Raises LaunchError: the code is larger than LIMIT_MB."""
    _check_size(root, _names(root, outside)[0])


def changed(code: Path) -> list[str]:
    """Return what of a run's code is not as it was frozen: missing, changed, or not recorded."""
    files = read_record(code).get("files")
    if not files:
        return [f"{RECORD if code.exists() else code.name} is missing or damaged"]
    found = frozen_code.digests(code, files)
    return [
        f"{name} {'is missing' if found[name] is None else 'was changed'}"
        for name, digest in files.items()
        if found[name] != digest
    ]


def differing(code: Path, root: Path = ROOT) -> list[str]:
    """Return the Python files in which frozen code and the working tree differ; not tests, benchmarks.

    The user's own classes aren't looked at: with other ones it would be another run.
    """
    recorded = read_record(code).get("files", {})
    files = {name: digest for name, digest in recorded.items() if not name.startswith(f"{FOLDER}/")}
    names = {*files, *map(str, _names(root, ())[0])}
    modules = sorted(name for name in names if name.endswith(".py") and name.split("/")[0] not in NOT_RUN)
    return [name for name in modules if files.get(name) != _digest(root / name)]


def differing_configs(code: Path, root: Path = ROOT) -> list[str]:
    """Return the files of configs/ in which frozen code and the working tree differ."""
    recorded = read_record(code).get("files", {})
    names = sorted({*recorded, *map(str, _names(root, ())[0])})
    return [
        name
        for name in names
        if name.startswith("configs/")
        and name.endswith(".yaml")
        and recorded.get(name) != _digest(root / name)
    ]


def _names(root: Path, outside: Iterable[Path]) -> tuple[list[PurePosixPath], bool]:
    """Which files are code, and whether git said so."""
    listed = _git_files(root)
    return _allowed(root, listed if listed is not None else _package_files(root), outside), listed is not None


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, in hex; None where there is none that can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _git_files(root: Path) -> list[PurePosixPath] | None:
    """Return what git knows or would know of under `root`, or None where it does not know this code."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = sorted({PurePosixPath(name) for name in (listed or "").split("\0") if name})
    return names if PurePosixPath("launch/snapshot.py") in names else None


def _git_state(root: Path) -> tuple[str | None, bool]:
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    return (commit.strip() if commit else None), bool(_git(root, "status", "--porcelain", "--", "."))


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where there is no git, or no checkout that it trusts."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "-C", str(root), *arguments], capture_output=True, check=False)
    return os.fsdecode(done.stdout) if done.returncode == 0 else None


def _package_files(root: Path) -> list[PurePosixPath]:
    found = [path for name in PACKAGES for path in files_below(root / name)]
    found += matching(root / "hydra_plugins", "dnw_*.py")
    return [PurePosixPath(path.relative_to(root)) for path in found if "__pycache__" not in path.parts]


def _allowed(root: Path, names: list[PurePosixPath], outside: Iterable[Path]) -> list[PurePosixPath]:
    """Those that are files (a deleted one is still listed, a submodule is a folder) and not outside."""
    kept_out = [folder.resolve() for folder in outside]
    files = [name for name in names if (root / name).is_file()]
    return [name for name in files if not any((root / name).is_relative_to(folder) for folder in kept_out)]


def _check_size(root: Path, names: list[PurePosixPath]) -> None:
    sizes = {name: (root / name).stat().st_size for name in names}
    total_MB = sum(sizes.values()) / 2**20
    if total_MB > LIMIT_MB:
        largest = max(names, key=sizes.__getitem__)
        raise LaunchError(
            f"{root}: the code to freeze comes to {total_MB:.0f} MB, more than {LIMIT_MB}; the largest file "
            f"is {largest} ({sizes[largest] / 2**20:.0f} MB). Name in .gitignore what is not code"
        )
