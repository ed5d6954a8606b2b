import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards import rng

KEYS = st.lists(st.integers(-(2**63), 2**64 - 1), max_size=4)


def test_stream_is_splitmix64() -> None:
    # first outputs of the reference implementation for seed 0
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert rng.bits(n=3).tolist() == expected


def test_values_are_pinned() -> None:
    assert [hex(value) for value in rng.bits(1, 2, 3, n=2)] == PINNED_BITS
    assert rng.uniforms(7, n=2).tolist() == PINNED_UNIFORMS
    assert rng.permutation(10, 0, 1).tolist() == PINNED_PERMUTATION
    assert rng.permutation(1_281_167, 5)[[0, 1, 640_000, -1]].tolist() == PINNED_LONG


@given(KEYS, st.integers(0, 300), st.integers(0, 300))
def test_number_i_does_not_depend_on_how_many_are_read(key: list[int], few: int, many: int) -> None:
    few, many = sorted((few, many))
    assert (rng.bits(*key, n=many)[:few] == rng.bits(*key, n=few)).all()


@given(KEYS, KEYS)
def test_other_keys_give_other_numbers(one: list[int], other: list[int]) -> None:
    same = [part % 2**64 for part in one] == [part % 2**64 for part in other]
    assert (rng.bits(*one, n=2) == rng.bits(*other, n=2)).all() == same


@given(KEYS, st.integers(0, 500))
def test_permutation_has_every_number_once(key: list[int], n: int) -> None:
    assert sorted(rng.permutation(n, *key).tolist()) == list(range(n))


def test_permutation_is_fair() -> None:
    # where number 3 of 8 lands: chi square over 7 degrees of freedom, 24.3 at one in a thousand
    places = [rng.permutation(8, seed).tolist().index(3) for seed in range(8000)]
    assert ((np.bincount(places, minlength=8) - 1000) ** 2 / 1000).sum() < 24.3


def test_uniforms_are_uniform() -> None:
    numbers = rng.uniforms(11, n=100_000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, 20, (0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # 19 degrees of freedom, one in a thousand
    assert abs(np.corrcoef(rng.uniforms(1, n=10_000), rng.uniforms(2, n=10_000))[0, 1]) < 0.04


def test_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="n must not be negative"):
        rng.permutation(-1)


@pytest.mark.parametrize("module", ["rng", "order", "index", "reader", "write"])
def test_imports_no_torch(module: str) -> None:
    code = f"import sys, shards.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


PINNED_BITS = ["0x12588d809dce88a7", "0xdd034ea7d44e8739"]
PINNED_UNIFORMS = [0.7215081806049702, 0.6497043364684557]
PINNED_PERMUTATION = [9, 0, 6, 7, 4, 3, 2, 1, 8, 5]
PINNED_LONG = [984077, 752065, 1258670, 1098762]
