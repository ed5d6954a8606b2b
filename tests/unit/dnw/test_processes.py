"""How many processes can share a step."""

from __future__ import annotations

from typing import Any

import pytest
from example import train

from dnw.config import ConfigError
from dnw.processes import check_processes

TWELVE = {"batch": 96, "micro_batch": 8}


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6, 12])
def test_divisors_of_the_micro_batches_can(processes: int) -> None:
    check_processes(train(**TWELVE), processes, "x")


@pytest.mark.parametrize(
    ("changes", "processes", "said"),
    [
        ({}, 5, r"5 GPUs can't share the 12 micro-batches of a step \(batch=96, micro_batch=8\); these"),
        ({}, 5, "these numbers of processes can: 1, 2, 3, 4, 6, 12$"),
        ({}, 8, "type micro_batch=6 for 8 processes, .* BatchNorm sees 6 images at once instead of 8"),
        ({}, 96, r"\(batch=96, micro_batch=8\); these"),  # one image each would do, were it not for BatchNorm
        ({"reduce": "exact"}, 3, r"micro_batch=8, reduce=exact\); .* can: 1, 2, 4$"),
        ({"reduce": "exact"}, 8, "type micro_batch=6 for 8 processes"),
    ],
)
def test_others_are_refused_with_what_works(changes: dict[str, Any], processes: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_processes(train(**TWELVE, **changes), processes, f"{processes} GPUs")


def test_the_micro_batch_that_is_offered_works() -> None:
    check_processes(train(batch=96, micro_batch=6), 8, "x")
    check_processes(train(batch=96, micro_batch=6, reduce="exact"), 8, "x")
