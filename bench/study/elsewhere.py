"""Runs of the study that were trained elsewhere: what it wrote there (`.json`) counts here, too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnw.config import ConfigError
from dnw.runs.folder import signature_in


@dataclass(frozen=True)
class Outcome:
    """What a run came to that has ended."""

    held_out: float | None  # top-1, percent; None: it has diverged
    test: float | None  # the same on the test images; None: it wasn't trained for the whole length
    curve: tuple[tuple[float, float], ...]  # (epoch, top-1 of what is held out)


def known(files: Iterable[Path]) -> dict[tuple[str, str], Outcome]:
    """Read what ended, from files that the study wrote; of a run that stands in several the last one.

    Raises:
        ConfigError: there is no such file, or it is none of the study's.
    """
    found = {}
    for path in files:
        try:
            for one in json.loads(path.read_bytes()):
                if one["ended"]:
                    found[str(one["images"]), signature_in(str(one["run"]))] = _outcome(one)
        except OSError as error:
            raise ConfigError(f"--with {path}: {error.strerror}") from None
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"--with {path}: not the .json of a study; --report writes it where the runs are"
            ) from None
    return found


def _outcome(one: Mapping[str, Any]) -> Outcome:
    held_out, test = (None if one[key] is None else float(one[key]) for key in ("held_out", "test"))
    return Outcome(held_out, test, tuple((float(epoch), float(top1)) for epoch, top1 in one["curve"]))
