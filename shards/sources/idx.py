"""The idx file format: what MNIST and its successors come in.

Bytes 0 and 1 are zero, 2 is the type (8: uint8), 3 the number of dimensions; then comes each dimension as a
big-endian 32-bit number, then the values, last dimension fastest.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.errors import ShardError


def read(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an array of `dimensions` dimensions from a file, or from the same one with .gz appended.

    Raises:
        ShardError: there is no such file, or it is not an idx file of uint8 of exactly the size it states.
    """
    packed = path.with_name(path.name + ".gz")
    if path.is_file():
        data = path.read_bytes()
    elif packed.is_file():
        path = packed
        try:
            data = gzip.decompress(path.read_bytes())
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ShardError(f"{path}: damaged ({error}): get it again") from error
    else:
        raise ShardError(f"{path}[.gz]: missing")
    head = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < head:
        raise ShardError(
            f"{path}: begins with {data[:4].hex()}, not with 000008{dimensions:02x}: get it again"
        )
    shape = tuple(np.frombuffer(data[4:head], ">u4").tolist())
    size = int(np.prod(shape))
    if len(data) != head + size:
        raise ShardError(f"{path}: has {len(data)} bytes, {head + size} for {shape}: get it again")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
