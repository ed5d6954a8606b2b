"""Shards that lie elsewhere (s3://, gs://, https://, whatever fsspec knows), and a cache of them here.

A shard is fetched whole, when one of its samples is wanted or a little before, into a folder that all
processes and jobs of a machine share. Its name there is its SHA-256, which is compared before anybody sees
it. Together the files stay below a limit, and those that nobody has used for longest go first. Whoever has
one open goes on reading it, as the file system keeps what is open.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote

from shards.errors import ShardError, shown, without_credentials
from shards.flock import flock
from shards.shard import Shard
from shards.tar import BLOCK

log = logging.getLogger(__name__)

Result = TypeVar("Result")

TRIES = 6  # with pauses of 1, 2, 4 ... seconds between them
INDEX_TRIES = 4  # of what somebody at a terminal waits for
PAUSE_S = 1.0
POLL_S = 0.05  # between looks for room in the cache
THREADS = 2  # that fetch ahead, in each process that reads; other processes fetch other shards
CONNECT_S = 30.0  # until a server has taken a call
STALL_S = 60.0  # between two bytes of it
SLOWEST = 64_000  # bytes a second, of an answer as a whole: a shard, a part of one where there are ranges
LONGEST_PAUSE_S = 300.0  # that a server can ask for
_CHUNK = 1 << 22
_LARGE = 1 << 28  # bytes, of an index of some ten million samples
_LONGEST = 120  # characters of another library's message
_GONE = (FileNotFoundError, PermissionError)  # trying again won't help
_PASSING = frozenset({408, 425, 429})  # of the answers from 400 to 499, those after which it will
_WITHOUT_RANGES: set[str] = set()  # servers that were met by this process


@dataclass(frozen=True)
class Store:
    """Where shards lie, and the folder that holds some of them.

    Attributes:
        url: of the folder that holds shards and indexes.
        cache: the folder on this machine; made if need be.
        limit: bytes that the cache may take.
    """

    url: str
    cache: Path
    limit: int

    def open(self, shard: Shard) -> int:
        """Open a shard's file, fetched if it isn't here; return its descriptor. Nobody removes it in between.

        Raises:
            ShardError: it can't be had, isn't what the index says, or is larger than the cache.
            OSError: the cache can't be written.
        """
        with self._held(shard) as path:
            assert path is not None
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def prefetch(self, shard: Shard) -> None:
        """Have a shard here, unless another process is fetching it just now. Raises as `open`."""
        with self._held(shard, wait=False):
            pass

    @contextmanager
    def _held(self, shard: Shard, wait: bool = True) -> Iterator[Path | None]:
        """Yield the file of a shard, which stays meanwhile; None if another holds it and nobody waits."""
        path = self.cache / f"{shard.sha256}.tar"
        self.cache.mkdir(parents=True, exist_ok=True)
        with _locked(self.cache / f"{shard.sha256}.lock", wait) as is_ours:
            if is_ours and not _used(path):
                self._fetch(shard, path)
            yield path if is_ours else None

    def _fetch(self, shard: Shard, path: Path) -> None:
        part = path.with_suffix(f".{shard.bytes}.part")  # the size is kept free for it
        self._make_room(shard, part)
        for is_first in (True, False):  # it may have gone on from a wrong beginning, or the ranges be others
            self._download(shard, part, in_ranges=is_first)
            with part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == shard.sha256:
                with self._room():
                    part.rename(path)
                return
            part.unlink()
        raise ShardError(
            f"{shown(self.url)}/{shard.file}: has the digest {found[:16]}, the index says "
            f"{shard.sha256[:16]}: put the right shard there, or index what is there"
        )

    def _download(self, shard: Shard, part: Path, *, in_ranges: bool) -> None:
        """Have all bytes in `part`, going on from those that are there, where the server can do that."""
        address = _address(self.url, shard.file)
        is_http, host = address.startswith("http"), _host(address)

        def get() -> None:
            if not is_http or (in_ranges and host not in _WITHOUT_RANGES):
                try:
                    return _append(_filesystem(address, min(shard.bytes, _CHUNK)), address, part, shard.bytes)
                except (ValueError, EOFError):
                    if not is_http:
                        raise
                    _WITHOUT_RANGES.add(host)  # for all shards: each would cost a request that is broken off
            return _stream(_filesystem(address, shard.bytes), address, part, shard.bytes)

        _tried(get, address, TRIES)

    def _make_room(self, shard: Shard, part: Path) -> None:
        """Wait until the shard fits below the limit, and keep its size free; removes others for it."""
        if shard.bytes > self.limit:
            raise ShardError(
                f"data.cache_gb={self.limit / 1e9:g}: less than {shard.file} with its {shard.bytes:,} bytes"
            )
        while not self._kept_free(shard, part):  # others fetch theirs just now, and can be removed then
            time.sleep(POLL_S)

    def _kept_free(self, shard: Shard, part: Path) -> bool:
        """Remove what nobody has used for longest, also what a killed process left, until the shard fits.

        Whoever waits keeps nothing free, so that those who wait can't keep each other waiting.
        """
        with self._room():
            files = sorted(filter(None, map(_File.of, self.cache.iterdir())))
            others = [file for file in files if file.path != part]
            taken = shard.bytes + sum(file.size for file in others)
            for file in others:
                if taken <= self.limit:
                    break
                if self._remove(file.path):
                    taken -= file.size
            if taken > self.limit:
                part.unlink(missing_ok=True)
                return False
            part.touch()
            return True

    def _room(self) -> AbstractContextManager[bool]:
        """Files appear and go one process at a time."""
        return _locked(self.cache / "room.lock")

    def _remove(self, path: Path) -> bool:
        """Remove a file, unless somebody is fetching it."""
        with _locked(self.cache / f"{path.name.partition('.')[0]}.lock", wait=False) as is_ours:
            if is_ours:
                path.unlink(missing_ok=True)
            return is_ours


class Ahead:
    """Fetches shards before they are wanted, in threads of this process."""

    def __init__(self, store: Store, shards: Sequence[Shard]) -> None:
        self._store = store
        self._shards = shards
        self._wanted: SimpleQueue[int] = SimpleQueue()
        self._asked: set[int] = set()
        for _ in range(THREADS):
            threading.Thread(target=self._work, daemon=True).start()

    def want(self, numbers: Sequence[int]) -> None:
        """Have these shards here soon, the first of them first."""
        for number in numbers:
            if number not in self._asked:
                self._wanted.put(number)
        self._asked = set(numbers)

    def _work(self) -> None:
        while True:
            shard = self._shards[self._wanted.get()]
            try:
                self._store.prefetch(shard)
            except (ShardError, OSError) as error:
                log.warning("%s: not fetched ahead (%s)", shard.file, error)  # its reader will meet it too


def fetch_index(url: str, folder: Path, split: str) -> None:
    """Put the index of a split into a folder, unless it is there; what is no index isn't kept.

    Args:
        url: of the folder that has it.
        folder: to put it into.
        split: such as train.

    Raises:
        ShardError: there is none at this address, something else is, or it can't be reached.
        OSError: the folder can't be written.
    """
    for name in (f"index-{split}.npy", f"index-{split}.json"):  # the one that is looked for last
        if (folder / name).is_file() and _is_index(name, (folder / name).read_bytes()):
            continue
        content = _index_file(_address(url, name), name)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_bytes(content)
        temporary.rename(folder / name)


def _index_file(address: str, name: str) -> bytes:
    where = "data.url must be the folder of shards and their indexes"
    files = _filesystem(address, _LARGE)
    hint = f"{where}, which python -m shards.index makes"
    content: bytes = _tried(lambda: files.cat_file(address), address, INDEX_TRIES, hint)
    if not _is_index(name, content):
        raise ShardError(
            f"{shown(address)}: what the server sends is no index but begins with {content[:24]!r}: "
            f"{where}, which may need a login"
        )
    return content


def _tried(get: Callable[[], Result], address: str, tries: int, hint: str = "") -> Result:
    """Return what `get` does, called again after a pause where that may help; raises ShardError."""
    for number in range(tries):
        try:
            return get()
        except Exception as found:  # fsspec, what it runs on, the network: their types have no end
            error = _behind(found)
            why = f"{shown(address)}: can't be fetched ({_reason(error)})"
            remedy = _remedy(error)
            if isinstance(error, _GONE) or remedy:
                raise ShardError(": ".join(filter(None, (why, hint or remedy)))) from error
            if number == tries - 1:
                more = f": {hint}" if hint else ""
                raise ShardError(f"{why}, {tries} times tried{more}") from error
            pause_s = max(PAUSE_S * 2**number, _asked_to_wait_s(error))
        log.warning("%s; trying again in %.0f s", why, pause_s)
        time.sleep(pause_s)
    raise AssertionError("no try at all")


def _is_index(name: str, content: bytes) -> bool:
    """Return whether this can be an index, whole or damaged: a server may answer with a page of its own."""
    return content.startswith(b"\x93NUMPY" if name.endswith(".npy") else b"{")


def _append(files: Any, address: str, part: Path, size: int) -> None:
    """Have all bytes, going on from those that are there. Raises ValueError where there are no ranges."""
    with part.open("ab") as out, files.open(address, "rb", cache_type="none") as source:
        source.seek(out.tell())
        _copy(source, out, size)


def _stream(files: Any, address: str, part: Path, size: int) -> None:
    """Have all bytes, from the first on in one answer."""
    headers = {"Accept-Encoding": "identity"}
    with part.open("wb") as out, files.open(address, "rb", block_size=0, headers=headers) as source:
        _copy(source, out, size)


def _copy(source: Any, out: BinaryIO, size: int) -> None:
    while (there := out.tell()) < size:
        data = source.read(min(_CHUNK, size - there))
        if there == 0 and data.startswith(b"<") and b"\0" not in data[:BLOCK]:  # which a header has
            raise EOFError(f"the server sends a page instead, {data[:24]!r}")
        if not data:
            raise EOFError(f"ends after {there:,} of {size:,} bytes")
        out.write(data)


def _address(url: str, name: str) -> str:
    """Return the address of a file in a folder; what allows to read it, after the question mark, stays."""
    if not url.startswith("http"):
        return f"{url}/{name}"
    folder, question, words = url.partition("?")
    return f"{folder}/{quote(os.fsencode(name))}{question}{words}"


def _reason(error: Exception) -> str:
    """Return why something can't be fetched, in a few words: some libraries repeat their request."""
    if isinstance(error, FileNotFoundError):
        return "not there"
    words = re.sub(r"\?[^\s'\"]*", "?...", " ".join(str(error).split()))  # no signature into a log
    return (
        f"{type(error).__name__}: {without_credentials(words)[:_LONGEST]}" if words else type(error).__name__
    )


def _behind(error: Exception) -> Exception:
    """Return what went wrong: of all that may on its first request, fsspec says that the file isn't there."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, Exception):
        return error
    return error if getattr(cause, "status", 0) == HTTPStatus.NOT_FOUND else cause


def _remedy(error: Exception) -> str:
    """Return what helps where trying again won't; "" where it may."""
    if isinstance(getattr(error, "certificate_error", None), ssl.SSLError):
        return "nobody here trusts its certificate: let SSL_CERT_FILE name the file of the one that signed it"
    status = getattr(error, "status", 0)
    if status in {401, 403, 410}:
        return "what allows to read it may have expired: type data.url again, with a new signature"
    if type(error).__name__ == "TooManyRedirects":
        return "the server sends from one address to the next without end: let data.url be the last of them"
    if 400 <= status < 500 and status not in _PASSING:
        return "data.url must be the folder of the shards"
    return ""


def _asked_to_wait_s(error: Exception) -> float:
    """Return the seconds that a busy server asks to be left alone."""
    asked = (getattr(error, "headers", None) or {}).get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", asked, re.ASCII):
        wait_s = float(asked)
    else:
        try:
            wait_s = parsedate_to_datetime(asked).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(wait_s, 0.0), LONGEST_PAUSE_S)


def _patience(size: int) -> dict[str, Any]:
    """Return how long is waited for an answer of so many bytes; without this, five minutes for any."""
    try:
        from aiohttp import ClientTimeout  # noqa: PLC0415  (as fsspec)
    except ImportError:  # which fsspec says better
        return {}
    rounded = 1 << size.bit_length()  # each limit is a file system of its own, with its connections
    longest_s = CONNECT_S + STALL_S + rounded / SLOWEST  # or a byte now and then would keep it waiting
    limits = ClientTimeout(total=longest_s, sock_connect=CONNECT_S, sock_read=STALL_S)
    return {"client_kwargs": {"timeout": limits}}


def _host(address: str) -> str:
    return "/".join(address.split("/")[:3])


def _filesystem(address: str, size: int) -> Any:
    """Return the file system of an address, for answers of so many bytes; none lives through a fork."""
    import fsspec  # noqa: PLC0415  (half a second, for shards that lie elsewhere)

    try:
        if address.startswith("http"):  # [::1] would be a chain of file systems to url_to_fs
            return fsspec.filesystem("http", **_patience(size))
        return fsspec.core.url_to_fs(address)[0]
    except (ImportError, ValueError) as error:
        raise ShardError(f"data.url={shown(address)}: {error}") from error


class _File(NamedTuple):
    """A shard in the cache, or on its way there with the size that it will have; in the order of use."""

    used_ns: int
    size: int
    path: Path

    @classmethod
    def of(cls, path: Path) -> _File | None:
        """None for other files, and for one that is gone already."""
        if path.suffix not in {".tar", ".part"}:
            return None
        try:
            facts = path.stat()
        except FileNotFoundError:
            return None
        size = int(path.suffixes[-2][1:]) if path.suffix == ".part" else facts.st_size
        return cls(facts.st_mtime_ns, size, path)


def _used(path: Path) -> bool:
    """Whether the file is there; notes that it was used."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock among the processes of this machine; yields False if it is held and nobody waits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        # without locks the same may be fetched twice; each puts it in its place whole
        yield flock(descriptor, wait=wait) != "held"
    finally:
        os.close(descriptor)
