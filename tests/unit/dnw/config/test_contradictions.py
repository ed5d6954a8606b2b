from __future__ import annotations

from typing import Any

import pytest
from example import values

from dnw.config import ConfigError, parse


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"micro_batch": 12}, "micro_batch: 12 does not divide batch=32; these do: 1, 2, 4, 8, 16, 32"),
        ({"steps": None}, "epochs: must be set, or steps in its place"),
        (
            {"reduce": "exact", "deterministic": False},
            "deterministic: reduce=exact promises equal bits, which need deterministic=true",
        ),
        ({"optim__schedule": "multistep"}, "optim.milestones: must name the epochs"),
        ({"model__small": True}, "model.small: only model=mobilenet has a small variant (got model=static)"),
        ({"width": 0.415}, "width: at most 0.414 of all edges of model=static are legal (got 0.415)"),
        (
            {"wiring": {"name": "n_m"}},
            "width: wiring=n_m keeps 2 of 4 of the legal edges; type width=0.207",
        ),
        (
            {"wiring": {"name": "n_m"}, "model__name": "resnet18", "width": None, "sparsity": 0.9},
            "sparsity: wiring=n_m keeps 2 of 4; type sparsity=0.5",
        ),
        ({"wiring": {"name": "n_m"}, "model__name": "mobilenet"}, "n_m isn't for model=mobilenet"),
        ({"wiring": {"name": "n_m", "n": 4}}, "wiring.n: 4 of 4 removes nothing; take n below m"),
        ({"wiring__drop": 0.1}, "wiring.drop: wiring=dnw has no use for it; rigl, set do"),
        (
            {"wiring": {"name": "rigl", "block": 4}},
            "wiring.block: wiring=rigl places single edges, not blocks; choose another wiring",
        ),
        (
            {"wiring": {"name": "set", "budget": "global"}},
            "wiring.budget: wiring=set has a budget for each layer; take layer or erk",
        ),
        (
            {"wiring": {"name": "gmp", "reference_quirks": True}},
            "wiring.reference_quirks: the paper's code has no wiring=gmp; leave it false",
        ),
        (
            {"wiring": {"name": "gmp", "start": 0.8}},
            "wiring.start: 0.8 lies behind wiring.until=0.75",
        ),
    ],
)
def test_refuses_with_name_and_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(values(**changes))
    assert message in str(refused.value)
