"""What the optimizer's settings may be."""

from __future__ import annotations

import pytest
from example import train

from dnw.config.optim import is_computable


def test_options_are_plain_values() -> None:
    options = {"betas": [0.9, 0.95], "amsgrad": True, "eps": 1e-6, "adjust_lr_fn": None}
    found = train(optim__name="adamw", optim__momentum=None, optim__options=options).optim.options
    assert found == {**options, "betas": (0.9, 0.95)}


@pytest.mark.parametrize(("gamma", "is_right"), [(0.1, True), (1e30, False)])
def test_a_rate_has_to_be_a_number_of_float32(gamma: float, is_right: bool) -> None:
    optim = train(optim__milestones=[1, 2], optim__gamma=gamma).optim
    assert is_computable(optim) == is_right
