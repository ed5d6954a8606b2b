"""The types of numbers in a configuration: each is finite, and in a range that can be computed with.

`STRICT` refuses inf and nan for every number of a dataclass, those without a range among them. What is
computed with on the device has to be a number of float32 as well: 1e300 would be inf there. Nothing here
imports torch: the login node checks with it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
LARGEST = 3.4e38  # of float32, rounded down
_MOST = 2**31 - 1  # of what is counted; sbatch and C take no more

Positive = Annotated[int, Field(gt=0, le=_MOST)]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Share = Annotated[float, Field(gt=0, le=1)]
Portion = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Magnitude = Annotated[float, Field(gt=0, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Deviation = Annotated[float, Field(ge=1e-6, le=LARGEST)]  # of pixels in [0, 1], which are divided by it
Duration = Annotated[float, Field(ge=0, le=1e9)]  # minutes or seconds; timedelta and sleep take no more
Size = Annotated[float, Field(gt=0, le=1e9)]  # GB
# of names: a list of them, or one alone
Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: [str(v)] if isinstance(v, str | int) else v)]


def _finite(value: Any) -> Any:
    """Return a value of whatever type, if no number in it is infinite or none, written as a text or not."""
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            _finite(one)
    elif isinstance(value, int | float | str) and not _is_within(value):
        raise ValueError("finite")
    return value


def _is_within(value: float | str) -> bool:
    try:
        return abs(float(value)) <= LARGEST
    except (ValueError, OverflowError):
        return isinstance(value, str)


Finite = Annotated[Any, BeforeValidator(_finite)]  # what a setting that may be of any type holds


def divisors(number: int) -> list[int]:
    """All divisors, rising."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})
