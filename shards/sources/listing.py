"""The entries of a folder of images: every one is taken, or named and counted, or refused."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from shards.errors import ShardError
from shards.files.folder_entries import entries
from shards.ignored import Ignored, printable
from shards.shard import EXTENSIONS


def folders(folder: Path, root: Path, ignored: Ignored) -> list[str]:
    """Return the names of the folders in a folder, links to folders included.

    Args:
        folder: whose entries are listed.
        root: the source, which paths in messages and patterns begin below.
        ignored: is told of everything else.

    Raises:
        OSError: the folder can't be read.
    """
    found = []
    for entry in entries(folder):
        path = str(Path(entry.path).relative_to(root))
        if ignored.names(path):
            continue
        if _is(entry.is_dir):
            found.append(entry.name)
        else:
            ignored.refuse(path, "a link to nothing" if entry.is_symlink() else "not in a class folder")
    return sorted(found)


def images(folder: Path, root: Path, ignored: Ignored) -> Iterator[Path]:
    """Yield the images below a folder, at any depth: files first, then folders, each sorted by name.

    Args and raises as `folders`; ShardError where a link leads back to a folder that it is in.
    """
    yield from _below(folder, root, ignored, frozenset())


def _below(folder: Path, root: Path, ignored: Ignored, above: Collection[tuple[int, int]]) -> Iterator[Path]:
    facts = folder.stat()
    here = (facts.st_dev, facts.st_ino)
    if here in above:
        raise ShardError(f"{printable(folder)}: a link that leads back to a folder that it is in: remove it")
    below = []
    for entry in entries(folder):
        path = str(Path(entry.path).relative_to(root))
        if ignored.names(path):
            continue
        if _is(entry.is_dir):
            below.append(entry.path)
        elif not _is(entry.is_file):
            ignored.refuse(path, "a link to nothing" if entry.is_symlink() else "no file")
        elif (suffix := Path(entry.name).suffix[1:].lower()) in EXTENSIONS:
            yield Path(entry.path)
        else:
            ignored.refuse(path, f"no image: .{printable(suffix)}" if suffix else "no image")
    for one in sorted(below):
        yield from _below(Path(one), root, ignored, {*above, here})


def _is(question: Callable[[], bool]) -> bool:
    """Return what an entry answers; links in a circle, which lead to nothing, are neither file nor folder."""
    try:
        return question()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False
