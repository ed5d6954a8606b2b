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


def download(url: str, path: Path, md5: str) -> None:
    """Fetch a file; it is there whole, with the right digest, or not at all.

    Args:
        url: http:// or https://, which the proxies of the environment may serve.
        path: where it goes, in a folder that exists.
        md5: its digest, in hexadecimal.

    Raises:
        ShardError: it can't be fetched, or is another file than the digest says.
        OSError: `path` can't be written.
    """
    with atomic.replacing(path) as file:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in _chunks(url, path.name):
            file.write(chunk)
            digest.update(chunk)
        if digest.hexdigest() != md5:
            raise ShardError(f"{url}: has the MD5 {digest.hexdigest()}, not {md5}: try again later")


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
