"""Random numbers that are a function of a key: the same on every machine, process and day.

A key is any number of integers, say (seed, epoch, place). There is no state to save, and number i of a key
costs the same wherever reading starts. The generator is splitmix64 (Steele, Lea, Flood, "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014, figure 16), seeded by folding the key through its own finalizer.
What a key yields is pinned by a test, because runs under way depend on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GAMMA = 0x9E3779B97F4A7C15
_MIX_A = 0xBF58476D1CE4E5B9
_MIX_B = 0x94D049BB133111EB
_MASK = 2**64 - 1

# numpy scalars made once: making one takes as long as an operation on a short array
_A, _B, _27, _30, _31, _11 = (np.uint64(value) for value in (_MIX_A, _MIX_B, 27, 30, 31, 11))
_STEPS = np.arange(1, 65, dtype=np.uint64) * np.uint64(_GAMMA)


def bits(*key: int, n: int) -> npt.NDArray[np.uint64]:
    """Return the first n 64-bit numbers of a key, uint64[n]."""
    steps = _STEPS[:n] if n <= len(_STEPS) else np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    z = steps + np.uint64(_fold(key))
    z ^= z >> _30
    z *= _A
    z ^= z >> _27
    z *= _B
    z ^= z >> _31
    return z


def uniforms(*key: int, n: int) -> npt.NDArray[np.float64]:
    """Return the first n numbers of a key, evenly spread over [0, 1) in steps of 2**-53, float64[n]."""
    return (bits(*key, n=n) >> _11) * np.float64(2.0**-53)


def permutation(n: int, *key: int) -> npt.NDArray[np.int64]:
    """Return a permutation of 0 ... n-1, int64[n]: the numbers ranked by their random bits, ties by number.

    The lowest bits are replaced by the number itself, so that a plain sort, the fastest there is, ranks
    without ties and no sorting algorithm can change the result.

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"a permutation of {n} numbers: n must not be negative")
    low = np.uint64(max(n - 1, 0).bit_length())
    ranked = bits(*key, n=n)
    ranked >>= low
    ranked <<= low
    ranked |= np.arange(n, dtype=np.uint64)
    ranked.sort()
    ranked &= np.uint64((1 << int(low)) - 1)
    return ranked.view(np.int64)


def _fold(key: tuple[int, ...]) -> int:
    z = 0
    for part in key:
        z = ((z ^ (int(part) & _MASK)) + _GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * _MIX_A) & _MASK
        z = ((z ^ (z >> 27)) * _MIX_B) & _MASK
        z ^= z >> 31
    return z
