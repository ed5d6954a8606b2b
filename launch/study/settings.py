"""The settings of a study, hydra.sweeper.NAME: what is looked for, and how."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from dnw.config import ConfigError, parse_as
from dnw.dotted import dotted
from dnw.ranges import STRICT, Count, Positive
from launch.compose import Composed
from launch.config import is_launch_key
from launch.errors import LaunchError
from launch.study import space as spaces
from launch.study.space import Space

Objective = Literal["top1", "top5", "loss", "macs", "params"]
Direction = Literal["maximize", "minimize"]
COSTS = ("macs", "params")
UPWARDS = ("top1", "top5")
PREFIX = "hydra.sweeper"
ARRAY = "cluster.array_parallelism"
PACK = "pack"
AT_ONCE = 4  # trials, where nobody says: later ones learn from earlier ones
_NO_EFFECT = ("fresh", "resume_diverged")


def _tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Typed:
    """What is typed as hydra.sweeper.NAME."""

    n_trials: Positive
    study_name: str | None = None
    objectives: Annotated[tuple[Objective, ...], BeforeValidator(_tuple)] = ("top1", "macs")
    direction: Annotated[tuple[Direction, ...] | None, BeforeValidator(_tuple)] = None
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Count = 0
    pruner: Literal["median"] | None = "median"
    startup_trials: Count = 5
    warmup_evaluations: Count = 1


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """A study as it was typed."""

    typed: Typed
    folder: Path
    space: Space
    words: tuple[str, ...]  # of every trial, without what is chosen
    kept: tuple[str, ...]  # words for Hydra itself, of every trial
    at_once: int  # jobs
    is_typed_at_once: bool
    pack: int = 1  # trials of a job
    directions: tuple[Direction, ...] = field(default=())

    @property
    def name(self) -> str:
        """How people call it."""
        return self.folder.name

    @property
    def quality(self) -> str | None:
        """The objective that evaluations give while a trial trains."""
        return next((one for one in self.typed.objectives if one not in COSTS), None)

    @property
    def cost(self) -> str | None:
        """The objective beside it, which a trial that falls behind may have less of."""
        return next((one for one in self.typed.objectives if one in COSTS), None)

    @property
    def first(self) -> dict[str, spaces.Value]:
        """The first value of each setting."""
        return {key: values.first for key, values in self.space.items()}

    def trial_words(self, params: spaces.Params) -> list[str]:
        """Return what is typed for a run with these values."""
        chosen = [f"{key}={self.space[key].text(value)}" for key, value in params.items()]
        return [*self.words, *chosen]

    def identity(self) -> dict[str, Any]:
        """Return what may not change in a study."""
        typed = dataclasses.asdict(self.typed)
        kept = {key: value for key, value in typed.items() if key not in {"n_trials", "study_name"}}
        kept["direction"] = list(self.directions)
        words = sorted(word for word in self.words if not is_launch_key(_key(word)))
        of_study = {**kept, "words": words, "space": spaces.as_json(self.space)}
        plain: dict[str, Any] = json.loads(json.dumps(of_study))  # as the journal gives it back
        return plain


def read(composed: Composed) -> StudySettings:
    """Return the study that a command line asks for.

    Args:
        composed: the run with the first value of each.

    Raises:
        ConfigError: with what is wrong, a line for each.
        LaunchError: Optuna isn't installed.
    """
    assert composed.study is not None
    given = {key: value for key, value in composed.study.sweeper.items() if key not in {"_target_", "params"}}
    try:
        typed = parse_as(Typed, given)
    except ConfigError as error:
        lines = str(error).splitlines()
        raise ConfigError("\n".join(f"{PREFIX}.{line}" for line in lines)) from None
    directions = _directions(typed)
    check_installed()
    space = spaces.read(composed.study.words)
    fixed = [word for word in composed.overrides if _key(word) not in {key.lstrip("+") for key in space}]
    values = composed.values
    for key in _NO_EFFECT:
        if values.get(key):
            raise ConfigError(
                f"{key}: not in a study, whose trials go on; another one: {PREFIX}.study_name=NAME"
            )
    if values.get("after"):
        raise ConfigError(
            "after: not in a study, whose trials begin at once; leave it out, and type the line of the run "
            "before with wait=true first: LINE wait=true && this line"
        )
    if values.get("self_test") is not None:
        raise ConfigError("exp: the self-test has no result to choose by; name an experiment that trains")
    at_once, is_typed = _at_once(composed)
    made = StudySettings(
        typed=typed,
        folder=Path(),
        space=space,
        words=tuple(word for word in fixed if _key(word) not in {ARRAY, PACK}),
        kept=composed.study.kept,
        at_once=at_once,
        is_typed_at_once=is_typed,
        pack=values.get(PACK) or 1,
        directions=directions,
    )
    return dataclasses.replace(made, folder=_folder(made, composed))


def differing(there: Mapping[str, Any], typed: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that is other than it was.

    Args:
        there: what is kept with the study.
        typed: now.
    """
    ours, theirs = dotted(dict(typed)), dotted(dict(there))
    keys = [key for key in {**theirs, **ours} if ours.get(key) != theirs.get(key)]
    return [f"{key} was {theirs.get(key)!r}, is {ours.get(key)!r}" for key in keys]


def check_installed() -> None:
    """Refuse where Optuna is missing, which isn't imported for that.

    Raises:
        LaunchError: with the command that installs it.
    """
    if find_spec("optuna") is None:
        raise LaunchError("hydra/sweeper=optuna: Optuna is not installed here; pip install 'optuna>=5,<6'")


def _directions(typed: Typed) -> tuple[Direction, ...]:
    if len(set(typed.objectives)) != len(typed.objectives) or not typed.objectives:
        raise ConfigError(f"{PREFIX}.objectives: name each once, [top1,macs]")
    if typed.direction is None:
        return tuple("maximize" if one in UPWARDS else "minimize" for one in typed.objectives)
    if len(typed.direction) != len(typed.objectives):
        raise ConfigError(
            f"{PREFIX}.direction: {len(typed.direction)} for {len(typed.objectives)} objectives "
            f"({', '.join(typed.objectives)}); name one for each, or leave it out"
        )
    return typed.direction


def _at_once(composed: Composed) -> tuple[int, bool]:
    """Return how many jobs may be at work at once, and whether somebody has said so."""
    cluster = composed.values["cluster"]
    is_typed = any(_key(word) == ARRAY for word in composed.overrides)
    if is_typed:
        return int(cluster["array_parallelism"]), True
    return (1 if cluster["name"] == "local" else max(1, AT_ONCE // (composed.values.get(PACK) or 1))), False


def _folder(made: StudySettings, composed: Composed) -> Path:
    """Return where the study lies."""
    runs_dir = Path(str(composed.values["runs_dir"])).expanduser().absolute()
    name = made.typed.study_name
    if name is None:
        text = json.dumps(made.identity(), sort_keys=True)
        name = f"{composed.values['exp']}-study-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if re.fullmatch(r"[\w][\w.,=+-]*", name) is None:
        raise ConfigError(f"{PREFIX}.study_name: must be the name of a folder in runs_dir (got {name!r})")
    return runs_dir / name


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]
