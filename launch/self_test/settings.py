"""What of a command line belongs to the self-test, checked on the login node."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from dnw.config import ConfigError, Train
from dnw.identity import signature
from launch.config import Launch, SelfTest, is_launch_key
from launch.self_test.checks import NAMES
from shards.errors import did_you_mean

MAY_BE_SET = ("seed", "threads", "data.workers", "watchdog.seconds")


def check(asked: SelfTest, overrides: Iterable[str]) -> None:
    """Refuse what the self-test would not follow.

    Raises:
        ConfigError: a check that isn't one, or a setting that each check chooses itself.
    """
    problems = [
        f"self_test.{setting}: no check {name!r}{did_you_mean(name, NAMES)}; there are: {', '.join(NAMES)}"
        for setting, names in (("only", asked.only), ("faults", asked.faults))
        for name in names
        if name not in NAMES
    ]
    keys = [word.lstrip("+~").split("=")[0].split("@")[0] for word in overrides]
    problems += [
        f"{key}: the checks of the self-test choose it; may be set: {', '.join(MAY_BE_SET)}, self_test.*, "
        "and how it is launched"
        for key in keys
        if key != "exp" and key not in MAY_BE_SET and not is_launch_key(key)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def checks(asked: SelfTest) -> tuple[str, ...]:
    """Return the names of the checks that are asked for."""
    return tuple(name for name in NAMES if not asked.only or name in asked.only)


def folder(parent: Path, train: Train, launch: Launch) -> Path:
    """Return the run folder: another one for other nodes, processes or checks, which are what is tested.

    Args:
        parent: folder of the experiment.
        train: what is trained.
        launch: on which nodes, and which checks.
    """
    assert launch.self_test is not None
    asked = dataclasses.asdict(launch.self_test)
    place = f"{launch.nodes}x{launch.processes_per_node}"
    text = json.dumps([signature(train), place, asked])
    words = [place, *launch.self_test.only]
    words += [f"fault={name}" for name in launch.self_test.faults]
    return parent / f"{','.join(words)[:100]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
