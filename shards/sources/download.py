"""Files of a public data set, fetched over HTTP and checked against the digests that its owners publish."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from shards import atomic
from shards.errors import ShardError

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0  # without a byte


def download(url: str, path: Path, digest: str, algorithm: str = "md5", through: Path | None = None) -> None:
    """Fetch a file; it is there whole, with the right digest, or not at all.

    Args:
        url: http:// or https://, which the proxies of the environment may serve.
        path: where it goes, in a folder that exists.
        digest: its own in hexadecimal, or as many of the first digits as are known.
        algorithm: that the digest is made by.
        through: what it is called until it is whole; see shards.atomic.replacing.

    Raises:
        ShardError: it can't be fetched, or is another file than the digest says.
        OSError: `path` can't be written.
    """
    with atomic.replacing(path, through) as file:
        found = hashlib.new(algorithm, usedforsecurity=False)
        for chunk in _chunks(url, path.name):
            file.write(chunk)
            found.update(chunk)
        if not found.hexdigest().startswith(digest):
            raise ShardError(
                f"{url}: has the {algorithm.upper()} {found.hexdigest()}, not {digest}: try again later"
            )


def _chunks(url: str, name: str) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            total = int(answer.headers["Content-Length"] or 0) or None
            with tqdm(total=total, desc=name, unit="B", unit_scale=True, disable=None) as bar:
                while chunk := answer.read(_CHUNK):
                    yield chunk
                    bar.update(len(chunk))
    except (OSError, HTTPException) as error:
        raise ShardError(f"{url}: can't be fetched ({getattr(error, 'reason', error)})") from error
