"""Which weights a run begins with."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def _of_this_machine(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise ValueError("a file of this machine, not an address; fetch it, and name the file")
    return "" if value is None else value


Weights = Annotated[str, BeforeValidator(_of_this_machine)]
