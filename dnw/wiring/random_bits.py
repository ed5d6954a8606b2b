"""Random numbers by counting, on any device: number i of a key is a hash of the key and of i.

The same on every device, so that ranks agree without a word, and nothing waits for the device. The hash is
splitmix64, as in shards.rng. torch's int64 wraps as unsigned numbers do, but shifts in its sign.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shards import rng

_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # shift to the right, factor
_BITS = 53


def chance(share: float, n: int, key: tuple[int, ...], device: torch.device) -> Tensor:
    """Toss n coins that each fall True with probability `share`, to 53 bits: bool [n].

    Args:
        share: 0 to 1.
        n: how many.
        key: what the draw is for, as seed and step; the same key gives the same coins on every device.
        device: where the result is.
    """
    return _numbers(n, key, device).lt(round(share * 2**_BITS) - 2 ** (_BITS - 1))


def uniform(n: int, key: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw n numbers from 0 to below 1, multiples of 2^-24: float32 [n]; arguments as for `chance`."""
    z = _numbers(n, key, device)
    z >>= _BITS - 24
    return (z + 2**23).float() * 2.0**-24


def _numbers(n: int, key: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw n integers of 53 bits, sign and all: int64 [n]."""
    z = torch.arange(1, n + 1, device=device)
    z *= _signed(_GAMMA)
    z += _signed(int(rng.bits(*key, n=1)[0]))
    shifted = torch.empty_like(z)  # in place, since fresh memory costs five times what an operation does
    for shift, factor in _MIX:
        torch.bitwise_right_shift(z, shift, out=shifted)
        z ^= shifted.bitwise_and_(2 ** (64 - shift) - 1)
        z *= _signed(factor)
    z >>= 64 - _BITS
    return z


def _signed(number: int) -> int:
    return int(np.uint64(number).view(np.int64))
