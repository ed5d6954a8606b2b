"""Read files of torch.save that somebody else wrote: tensors and numbers; nothing in them is run.

A pickle is a program. It may name any function, and an ordinary load would import and call it. Here only
what torch knows to be harmless is called; every other name stands for an object that does nothing.
"""

from __future__ import annotations

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any

import torch

from shards.errors import ExpectedError

_BEFORE_ZIP = 4  # pickles at the head of a file of torch 1.5 and older: magic, version, machine, object


class UnsafeFileError(ExpectedError):
    """A file that can't be read, or not without running it."""


class Inert:
    """In place of an object of a class, or a result of a function, that isn't looked up."""

    def __new__(cls, *_: object) -> Inert:
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Take any state."""


def read(path: Path) -> Any:
    """Read what torch.save wrote, in the zip format or that before it; unknown objects become `Inert`.

    Raises:
        UnsafeFileError: the file isn't there, isn't one of torch.save, is damaged, or can't do without what
            it names: a function of the operating system, or the result of a function as one to call.
    """
    try:
        inert: list[Any] = [(Inert, name) for name in sorted(_names(path))]
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnsafeFileError(f"{path}: can't be read ({error.strerror or error})") from None
    except Exception as error:  # what isn't a pickle can break its reader in any way
        raise UnsafeFileError(
            f"{path}: no file of torch.save that can be read safely ({_reason(error)})"
        ) from None


def _names(path: Path) -> set[str]:
    """Return the classes and functions that a file names, found without looking any of them up."""
    if zipfile.is_zipfile(path):
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    with path.open("rb") as file:
        instructions = [step for _ in range(_BEFORE_ZIP) for step in pickletools.genops(file)]
    named = [str(word).split(" ", 1) for code, word, _ in instructions if code.name == "GLOBAL"]
    return {".".join(_present_name(module, name)) for module, name in named}


def _present_name(module: str, name: str) -> tuple[str, str]:
    """Pickles of this format call things as Python 2 did."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def _reason(error: Exception) -> str:
    """Return what is wrong, without the advice that torch gives with it."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Check the documentation")]
    return telling[-1].removeprefix("WeightsUnpickler error: ") if telling else type(error).__name__
