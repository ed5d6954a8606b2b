"""Classes of the user's own in a configuration: checked on the login node, kept with the run, built there.

The login node reads their source and imports nothing. A run keeps the files beside its code, in the folder
FOLDER of the same zip file; its workers import them from there, whatever became of them where they were.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnw.config import ConfigError, Train
from shards.user_class.check import Constructor, Kind, check, constructor, offered
from shards.user_class.classes import Class, lineage
from shards.user_class.files import files_of, fingerprint
from shards.user_class.loading import load, told
from shards.user_class.modules import UserClassError, search_path
from shards.user_class.names import is_user_class

FOLDER = "user"  # of the run's code
WIRING = Kind(
    "wiring",
    base="dnw.wiring.edges.Edges",
    written="dnw.wiring.Edges, or StrongestEdges",
    positional=("shape", "budget"),
    keywords=("legal", "layout", "quota", "block"),
    offered=("key",),
    methods={"choose": ("weight", "step"), "forward": ("weight",)},
)
NETWORK = Kind(
    "network",
    base="torch.nn.modules.module.Module",
    written="torch.nn.Module",
    other=(WIRING.base, "wiring"),
    positional=("classes",),
    offered=("image_size",),
    methods={"forward": ("images",)},
)
OPTIMIZER = Kind(
    "optimizer",
    base="torch.optim.optimizer.Optimizer",
    written="torch.optim.Optimizer, or one of its kinds",
    positional=("params",),
    keywords=("lr",),
    methods={"step": ()},
)
AUGMENTATION = Kind("augmentation", methods={"__call__": ("image", "size", "rng")})


@dataclass(frozen=True)
class Place:
    """A setting that may name a class, how it is typed, and the setting with the options of the class."""

    setting: str
    typed: str
    kind: Kind
    options: str


PLACES = (
    Place("wiring.name", "wiring", WIRING, "wiring.options"),
    Place("model.name", "model", NETWORK, "model.options"),
    Place("data.augment", "data.augment", AUGMENTATION, "data.augment_options"),
    Place("optim.name", "optim.name", OPTIMIZER, "optim.options"),
)


def has_any(train: Train) -> bool:
    """Whether a configuration names classes of the user's own."""
    return any(True for _ in _chosen(train))


def freeze(train: Train) -> tuple[Train, tuple[tuple[str, bytes], ...]]:
    """Check the classes that a configuration names; return it with their fingerprint, and their files.

    The files are those that a run keeps, each with its name in the run's code.

    Raises:
        ConfigError: one can't stand where it is named; a line for each.
    """
    files: dict[str, bytes] = {}
    problems = []
    for place, name in _chosen(train):
        try:
            found = _find(train, place, name)
            files |= files_of(found.module, _roots(train))
        except UserClassError as error:
            problems.append(f"{place.typed}={name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    kept = tuple((f"{FOLDER}/{name}", content) for name, content in files.items())
    return dataclasses.replace(train, user_fingerprint=fingerprint(files)), kept


def prefer(code: Path) -> None:
    """Have classes be imported from what a run keeps, if it keeps any.

    Args:
        code: of the run.
    """
    kept = str(code / FOLDER)
    if kept not in sys.path:
        sys.path.insert(0, kept)


def build(
    train: Train, setting: str, *values: Any, given: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    """Build the object of a class that a setting names.

    Args:
        train: the configuration.
        setting: as of PLACES.
        values: what it is built with, first.
        given: what it is given besides, if it takes it by these names.
        more: what it is built with by name; its options come on top.

    Raises:
        ConfigError: it isn't there, can't stand where it is named, or fails: with file and line.
    """
    place, name, found, built = _looked_up(train, setting)
    try:
        made = load(found)
        taken = offered(built, given or {})
        return told(lambda: made(*values, **more, **taken, **_options(train, place)), found)
    except UserClassError as error:
        raise ConfigError(f"{place.typed}={name}: {error}") from error


def call(train: Train, setting: str, make: Callable[[], Any]) -> Any:
    """Return what a call of a method of such a class returns. Raises ConfigError as `build` does.

    Args:
        train: that names the class.
        setting: the key that names it, for messages.
        make: makes the call.
    """
    place, name, found, _ = _looked_up(train, setting)
    try:
        return told(make, found)
    except UserClassError as error:
        raise ConfigError(f"{place.typed}={name}: {error}") from error


def check_fingerprint(train: Train) -> None:
    """Refuse classes that aren't those that a run was prepared with.

    Raises:
        ConfigError: their files differ, or one is gone.
    """
    if not train.user_fingerprint:  # nothing was prepared, as in a profile
        return
    frozen, files = freeze(train)
    if frozen.user_fingerprint != train.user_fingerprint:
        names = ", ".join(name for _, name in _chosen(train))
        raise ConfigError(
            f"{names}: not what the run was prepared with, {', '.join(sorted(dict(files)))} differ; name "
            "the run's folder, which keeps it, or put these files back"
        )


def _chosen(train: Train) -> Iterator[tuple[Place, str]]:
    for place in PLACES:
        name = _value(train, place.setting)
        if isinstance(name, str) and is_user_class(name):
            yield place, name


def _looked_up(train: Train, setting: str) -> tuple[Place, str, Class, Constructor]:
    place, name = next((place, name) for place, name in _chosen(train) if place.setting == setting)
    options = json.dumps(_options(train, place))
    try:
        return place, name, *_cached(place.setting, name, options, tuple(_roots(train)))
    except UserClassError as error:
        raise ConfigError(f"{place.typed}={name}: {error}") from error


@functools.cache  # a network asks once for each of its layers
def _cached(setting: str, name: str, options: str, roots: Sequence[str]) -> tuple[Class, Constructor]:
    place = next(place for place in PLACES if place.setting == setting)
    found = check(name, place.kind, json.loads(options), place.options, roots)
    return found, constructor(list(lineage(found, roots)))


def _find(train: Train, place: Place, name: str) -> Class:
    return check(name, place.kind, _options(train, place), place.options, _roots(train))


def _options(train: Train, place: Place) -> dict[str, Any]:
    """Return what the user gives a class: its options, and a decay of weights where one is set."""
    options = dict(_value(train, place.options))
    if place.kind is OPTIMIZER and train.optim.weight_decay is not None:
        options.setdefault("weight_decay", train.optim.weight_decay)
    return options


def _roots(train: Train) -> list[str]:
    """Where classes are looked for: of a run, what it keeps comes first; see `prefer`."""
    return [*sys.path, str(Path.cwd())] if train.user_fingerprint else search_path()


def _value(train: Train, setting: str) -> Any:
    value: Any = train
    for part in setting.split("."):
        value = getattr(value, part)
    return value
