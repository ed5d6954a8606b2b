"""Find a run that the same words made when a recipe had other defaults: they would make another run now."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from dnw import config
from dnw.config import ConfigError, Train
from dnw.dotted import dotted
from dnw.identity import identity, signature
from dnw.runs.folder import Run
from dnw.runs.source_run import quoted


def earlier(train: Train, run: Run) -> Iterator[str]:
    """Yield what to say of each such run, where `run` is a new one."""
    if run.folder.exists():
        return
    digits = signature(train)
    words = run.folder.name.removesuffix(digits)
    ours = dotted(identity(config.plain(train)))
    for folder in sorted(run.folder.parent.glob(words + "[0-9a-f]" * len(digits))):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            theirs = dotted(identity(config.read(Run(folder).config)))
        except ConfigError as error:
            yield f"{name} has the same words, and can't be read: {error}"
            continue
        differing = [key for key in ours if key in theirs and theirs[key] != ours[key]]
        if differing and not any(key.endswith(("_fingerprint", "_signature")) for key in differing):
            typed = " ".join(shlex.quote(f"{key}={quoted(theirs[key])}") for key in differing)
            yield (
                f"{run.name} is a new run: {name}, which the same words made earlier, has other settings; "
                f"type also {typed} to go on with that one"
            )
