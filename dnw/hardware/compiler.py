"""torch's compiler, left out of processes that compile nothing.

Optimizers, DistributedDataParallel and torchvision import it (torch._dynamo) to keep themselves out of what
it compiles: as long again as torch itself takes to import, in every attempt.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

NAME, UTILS = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """Answers what eager training asks; whoever asks for anything else gets the compiler."""

    def __init__(self, name: str, **answers: Any) -> None:
        super().__init__(name)
        self.__dict__.update(answers)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and (self.__name__, attribute) != (NAME, "__path__"):
            raise AttributeError(attribute)  # as of any module; only a package has a path
        return getattr(_real(self.__name__), attribute)


def leave_out() -> None:
    """Have torch do without its compiler until somebody compiles; of no effect if it is there already."""
    if NAME in sys.modules:
        return
    utils = _StandIn(
        UTILS, get_optimize_ddp_mode=lambda: "ddp_optimizer", is_compile_supported=_is_compile_supported
    )
    stand_in = _StandIn(
        NAME,
        disable=_unchanged,
        graph_break=lambda: None,
        utils=utils,
        trace_rules=_StandIn(f"{NAME}.trace_rules", clear_lru_cache=lambda: None),
    )
    sys.modules |= {NAME: stand_in, UTILS: utils}
    torch._dynamo = stand_in


def _unchanged(function: Callable[..., Any], *_: bool, **__: bool) -> Callable[..., Any]:
    """Return the function itself: where nothing is compiled, nothing has to be kept out."""
    return function


def _is_compile_supported(device: str) -> bool:
    """torchvision takes this by name, and asks it when it runs an operator of its own."""
    return bool(_real(UTILS).is_compile_supported(device))


def _real(name: str) -> ModuleType:
    """Import a module of the compiler, in place of what stood in for it."""
    for stood_in in (NAME, UTILS):
        if isinstance(sys.modules.get(stood_in), _StandIn):
            del sys.modules[stood_in]
    return importlib.import_module(name)
