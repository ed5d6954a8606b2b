"""Which file a run begins with: settled on the login node, before a node is spent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dnw.config import LIBRARIES, ConfigError, Train, load
from dnw.identity import signature
from dnw.pretrained import published, weights_file
from dnw.runs.folder import Run, newest_step
from shards import command
from shards.errors import did_you_mean
from shards.files.folder_entries import matching


class NotFetchedError(ConfigError):
    """Weights aren't here yet, and may not be fetched now."""


_PUBLISHED = tuple(library.rstrip("/") for library in LIBRARIES)


def resolve_weights(train: Train, runs: Path | None, download: bool) -> Train:
    """Put the file that `train.init` stands for, and its digest, into a configuration.

    A run that has saved a step needs no weights any more: if they are gone, it is known by where they were.

    Args:
        train: the configuration, frozen but for them.
        runs: where the experiment's runs are; None: there are none.
        download: whether weights that a library publishes may be fetched.

    Raises:
        NotFetchedError: they are published, not here, and may not be fetched.
        ConfigError: there is no such file, or it can't be used; says what to name.
    """
    if not train.init:
        return train
    word = train.init
    source = published.find(train.model.name) if word in _PUBLISHED else None
    path = source.cached() if source else Path(command.expanded(word)).absolute()
    if path is not None:
        train = dataclasses.replace(train, init=str(path))
    if (path is None or not path.exists()) and (known := _begun(train, source, runs)):
        return known
    if path is None:
        assert source is not None
        if not download:
            raise NotFetchedError(f"init: {source.url} isn't in the cache yet; the launch fetches it")
        path = source.fetch()
    elif source is None and not path.exists():
        _check_word(word)
    weights_file.check(path)
    return dataclasses.replace(train, init=str(path), init_fingerprint=weights_file.digest(path))


def _begun(train: Train, source: published.Published | None, runs: Path | None) -> Train | None:
    """Return the configuration with the digest of a run that has begun with these weights."""
    for config in matching(runs, "[!.]*/config.yaml") if runs else ():
        try:
            theirs = load(config)
        except ConfigError:
            continue  # of a run that is told about when it is typed itself
        is_same = source.is_at(theirs.init) if source else theirs.init == train.init
        ours = dataclasses.replace(train, init=theirs.init, init_fingerprint=theirs.init_fingerprint)
        has_begun = newest_step(Run(config.parent).checkpoints) is not None
        if is_same and has_begun and theirs.init_fingerprint and signature(ours) == signature(theirs):
            return ours
    return None


def _check_word(word: str) -> None:
    """Refuse what is no file, and was meant for a library."""
    library, _, name = word.replace(":", "/").partition("/")
    if name and library in _PUBLISHED:
        raise ConfigError(f"init: no file {word!r}; init={library} takes the weights of model={library}/NAME")
    if nearest := did_you_mean(word, _PUBLISHED):
        raise ConfigError(f"init: no file {word!r}{nearest}")
