from __future__ import annotations

from collections.abc import Callable

import pytest

from dnw.self_test import nodes
from dnw.self_test.measure import Setup


@pytest.mark.parametrize("is_faulty", [False, True])
def test_a_wrong_product_is_found(setup: Callable[..., Setup], is_faulty: bool) -> None:
    found = nodes.measure(setup(is_faulty=is_faulty))
    assert found.is_right == (not is_faulty)
    assert found.figure == ("a product of known values came out wrong" if is_faulty else "")
    assert set(found.facts) == {"tflops", "memory_gb_s"}  # alone: nothing is reduced
    assert found.facts["memory_gb_s"] > 0
