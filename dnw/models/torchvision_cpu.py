"""torchvision, also beside a torch without CUDA."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_definitions: list[Any] = []  # torch forgets the operators of a library that is collected


def torchvision() -> ModuleType:
    """Import torchvision, also beside a torch without CUDA.

    The wheel on PyPI is a CUDA build. Beside a CPU torch its compiled library doesn't load, and the import
    fails because two operators that Python code refers to are undefined. Declaring them is enough for data
    sets, transforms and models; where the library does load, declaring them would clash.

    Raises:
        ImportError: it is not installed.
        RuntimeError: its import fails for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    torch = importlib.import_module("torch")
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _definitions.append(library)
    return importlib.import_module("torchvision")
