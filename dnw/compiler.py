"""torch's compiler, left out of processes that compile nothing.

Optimizers and DistributedDataParallel import it (torch._dynamo) to keep themselves out of what it compiles:
as long again as torch itself takes to import, in every attempt.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


class _StandIn(ModuleType):
    """Answers what eager training asks; whoever asks for anything else gets the compiler."""

    def __init__(self, name: str, **answers: Any) -> None:
        super().__init__(name)
        self.__dict__.update(answers)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute != "__path__":  # of those who look at every module
            raise AttributeError(attribute)
        if isinstance(sys.modules.get(NAME), _StandIn):
            del sys.modules[NAME]
        return getattr(importlib.import_module(self.__name__), attribute)


def leave_out() -> None:
    """Have torch do without its compiler until somebody compiles; of no effect if it is there already."""
    if NAME in sys.modules:
        return
    stand_in = _StandIn(
        NAME,
        disable=_unchanged,
        graph_break=lambda: None,
        utils=_StandIn(f"{NAME}.utils", get_optimize_ddp_mode=lambda: "ddp_optimizer"),
        trace_rules=_StandIn(f"{NAME}.trace_rules", clear_lru_cache=lambda: None),
    )
    sys.modules[NAME] = stand_in
    torch._dynamo = stand_in


def _unchanged(function: Callable[..., Any], *_: bool, **__: bool) -> Callable[..., Any]:
    """A function kept out of what is compiled is itself, where nothing is."""
    return function
