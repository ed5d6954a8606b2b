"""The run that another begins with: which one it is, found before a node is spent."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dnw import config_file
from dnw.compose import CONFIGS, training
from dnw.config import FROM_A_RUN, ConfigError, Train, load, plain
from dnw.identity import signature
from dnw.invocation import SUBMIT
from dnw.runs import divergence
from dnw.runs.folder import Run, finished
from shards.errors import did_you_mean
from shards.files.folder_entries import matching

# What has to be the same, or the weights would be others'.
_OF_THE_NETWORK = (
    "model.name",
    "model.small",
    "first_layer",
    "wiring.leave_dense",
    "wiring.reference_quirks",
    "data.image_size",
    "data.classes",
    "data.mean",
    "data.std",
    "seed",
)
_OF_THE_IMAGES = ("data.train_fingerprint", "data.val_fingerprint")
_SHOWN = 3  # settings in a message


Configs = Mapping[Path, Train]  # of runs, by folder


def resolve_source_run(train: Train, runs_dir: Path, planned: Configs | None = None) -> Train:
    """Put the folder and the signature of the source into a configuration that is frozen but for them.

    wiring.source names a run folder, a run below `runs_dir`, or an experiment: then its run in `planned`, or
    its only finished run below `runs_dir`, with wiring=complete and the same network, images and seed. Other
    wirings have no source.

    Args:
        train: the configuration.
        runs_dir: where names are looked for.
        planned: runs of the same command line, which may not be there yet; then others need not have
            finished, either. None: the source has.

    Raises:
        ConfigError: there is none, it has not finished or doesn't fit, or there are several; says what to do.
    """
    if train.wiring.name not in FROM_A_RUN:
        return train
    may_be_unfinished, planned = planned is not None, planned or {}
    run = _named(train, runs_dir, planned) or _of_experiment(train, runs_dir, planned, may_be_unfinished)
    if run.folder not in planned and not may_be_unfinished and not finished(run):
        raise ConfigError(unfinished(run))
    source = _config(run, planned)
    wiring = dataclasses.replace(train.wiring, source=str(run.folder), source_signature=signature(source))
    return dataclasses.replace(train, wiring=wiring)


def _config(run: Run, planned: Configs) -> Train:
    return planned[run.folder] if run.folder in planned else load(run.config)


def _named(train: Train, runs_dir: Path, planned: Configs) -> Run | None:
    """Return the run that wiring.source is the folder or the name of."""
    source = train.wiring.source
    folders = (Path(source).expanduser().absolute(), runs_dir / source)
    there = (Run(folder) for folder in folders if folder in planned or Run(folder).config.exists())
    found = next(there, None)
    if found is None:
        experiments = config_file.options(CONFIGS / "exp")
        if source not in experiments:
            nearest = did_you_mean(source, experiments)
            raise ConfigError(f"wiring.source: {source} is neither a run folder nor an experiment{nearest}")
        return None
    if differing := _differences(_config(found, planned), train):
        raise ConfigError(f"wiring.source: {found.folder} doesn't fit this run: {_listed(differing)}")
    return found


def _of_experiment(train: Train, runs_dir: Path, planned: Configs, may_be_unfinished: bool) -> Run:
    """Return the run that an experiment's name stands for."""
    exp = train.wiring.source
    fitting = [Run(path) for path, one in planned.items() if one.exp == exp and not _differences(one, train)]
    if fitting:
        return _only(fitting, f"several runs of {exp} in this sweep fit; type it in lines of their own, and")
    differing = {run: _differences(load(run.config), train) for run in _prepared(runs_dir / exp)}
    fitting = [run for run, lines in differing.items() if not lines]
    if done := [run for run in fitting if finished(run)]:
        return _only(done, f"several finished runs of {exp} fit;")
    if fitting:
        return _only(fitting, f"several runs of {exp} fit;") if may_be_unfinished else fitting[0]
    unfit = "".join(f"\n  {run.folder}: {_listed(lines)}" for run, lines in differing.items())
    none = f"none of the runs of {exp} fits this one" if unfit else f"no run of {exp} is in {runs_dir / exp}"
    raise ConfigError(f"wiring.source: {none}{unfit}\nTrain it first:\n  {_command(train, runs_dir)}")


def _only(found: list[Run], said: str) -> Run:
    """Return the run that fits, where it is the only one."""
    if len(found) > 1:
        words = (shlex.quote(f"wiring.source={quoted(run.folder)}") for run in found)
        folders = "\n".join(f"  {word}" for word in words)
        raise ConfigError(f"wiring.source: {said} name one of them:\n{folders}")
    return found[0]


def _prepared(parent: Path) -> list[Run]:
    """Return runs of an experiment, without those that are being made or were moved aside."""
    folders = [path.parent for path in matching(parent, "*/config.yaml")]
    return [Run(path) for path in folders if path.name[0] != "." and ".old-" not in path.name]


def _differences(source: Train, train: Train) -> list[str]:
    """Return settings that keep a run from being a source, each with both values."""
    wiring = source.wiring.name
    lines = [] if wiring == "complete" else [f"its wiring is {wiring}, not complete"]
    theirs, ours = plain(source), plain(train)
    for key in (*_settings(train), *_OF_THE_IMAGES):
        a, b = _value(theirs, key), _value(ours, key)
        if a != b:
            lines.append(f"{key} is {_short(a)} there, {_short(b)} here")
    return lines


def _settings(train: Train) -> tuple[str, ...]:
    """Return the settings that a source has to share."""
    return ("width", *_OF_THE_NETWORK) if train.model.name == "mobilenet_v1" else _OF_THE_NETWORK


def _command(train: Train, runs_dir: Path) -> str:
    """Return the line that trains the source: its experiment, and the words for what this run has changed."""
    words = [f"+exp={train.wiring.source}"]
    for keys in (("model.name", "data.name"), _settings(train)):  # much follows from these two
        words += _changed(plain(train), plain(training(words)), keys)
    if train.data.dir != training(words).data.dir.absolute():
        words.append(f"data.dir={quoted(train.data.dir)}")
    if runs_dir != Path("runs").absolute():
        words.append(f"runs_dir={quoted(runs_dir)}")
    return " ".join([SUBMIT, *map(shlex.quote, words)])


def _changed(ours: dict[str, Any], usual: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """Return settings as the command line takes them."""
    changed = [(key, _value(ours, key)) for key in keys if _value(ours, key) != _value(usual, key)]
    return [f"{key.removesuffix('.name')}={quoted(value)}" for key, value in changed]


def quoted(value: object) -> str:
    """Return a value as Hydra takes it: the folder of a run may have an = in its name."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    text = str(value)
    return text if re.fullmatch(r"[\w./+-]*", text) else f'"{text}"'


def _value(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _short(value: object) -> str:
    return str(value)[:16] or "none"  # of a fingerprint


def _listed(differing: list[str]) -> str:
    more = [f"and {len(differing) - _SHOWN} more"] if len(differing) > _SHOWN else []
    return "; ".join([*differing[:_SHOWN], *more])


def unfinished(run: Run) -> str:
    """Return what to say of a source that has not finished, and on which nobody works."""
    if divergence.last(run) is not None:
        return f"wiring.source: {run.folder} has diverged; its command, typed again, says what helps"
    return f"wiring.source: {run.folder} has not finished; type its command again to go on with it"
