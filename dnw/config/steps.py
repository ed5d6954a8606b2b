"""Steps of a run, as one types them: 10:20."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

MOST_RECORDED = 100  # a trace of more fills memory and can't be looked at


def recorded_steps(text: str) -> range:
    """Return the steps that FIRST:LAST means, both included, counted from 1 as log lines count them."""
    first, last = map(int, text.split(":"))
    return range(first, last + 1)


def _recorded(value: Any) -> Any:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,9}:\d{1,9}", value):
        raise ValueError("FIRST:LAST, two steps counted from 1, as 10:20")
    steps = recorded_steps(value)
    if not 1 <= steps.start < steps.stop:
        raise ValueError("FIRST:LAST, from step 1 on and not backwards, as 10:20")
    if len(steps) > MOST_RECORDED:
        raise ValueError(f"at most {MOST_RECORDED} steps, whose trace is large already")
    return value


RecordedSteps = Annotated[str, BeforeValidator(_recorded)]
