"""The words of a command line, `+exp=NAME key=value`: made fit for Hydra's grammar, or refused in one line.

Hydra's grammar wants quotes within quotes around whatever has a = ( ~ # or a letter like ö in it, and the
folder of every run has a =. A value that the grammar doesn't take is therefore taken as the text that it is;
what is left for Hydra to refuse is said by `explain`, for all commands that compose.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf

from dnw import config_file
from dnw.config import LIBRARIES, ConfigError, listed
from dnw.config.wiring import USED_BY
from dnw.setting_errors import no_such_setting
from shards import command
from shards.errors import did_you_mean
from shards.user_class.names import written

_KEY = re.compile(r"(\+\+|\+|~)?[\w./@:$-]+", re.ASCII)
_PATHS = sorted(
    {"data.dir", "data.url", "data.cache", "runs_dir", "wiring.source", "init", "cluster.python"}
    | {"notify.slack", "notify.ntfy", "after"}
)
_RANGE = re.compile(r"([\w.]+)=([-+.\deE]+):([-+.\deE]+):([-+.\deE]+)")  # as other tools write one
_FUNCTIONS = ("choice", "range", "glob", "interval", "shuffle", "sort")  # of Hydra's, those of sweeps
_BRACES = re.compile(r"\{([^{}\[\]:]*,[^{}\[\]:]*)\}")  # as the shell expands them, without quotes
_TIMES = re.compile(r"cluster\.|environment\.|\+")  # 24:00:00 is a time limit
_AROUND = "write it without spaces around the ="


def last_of_each(words: Sequence[str]) -> list[str]:
    """Return the words without those that a later one overrides, as aliases and scripts have them; say so.

    Hydra would take the last one, too, but the run would be named by all of them.
    """
    typed: dict[str, list[str]] = {}
    for word in words:
        typed.setdefault(_key_of(word), []).append(word)
    for key, all_of_it in typed.items():
        if len(all_of_it) > 1 and key != "exp":
            print(f"note {key}: typed {len(all_of_it)} times, {all_of_it[-1]} holds", file=sys.stderr)
    kept = {key: all_of_it if key == "exp" else all_of_it[-1:] for key, all_of_it in typed.items()}
    return list(itertools.chain.from_iterable(kept.values()))


def _key_of(word: str) -> str:
    key, equals, _ = word.lstrip("+").partition("=")
    return key if equals else word


def fit(words: Sequence[str], configs: Path, known: Collection[str], is_sweep: bool = False) -> list[str]:
    """Return the words as Hydra takes them: a value outside of its grammar is quoted.

    Args:
        words: as typed, without options.
        configs: the folder of the config groups.
        known: all settings.
        is_sweep: whether a comma parts the values of a sweep.

    Raises:
        ConfigError: a word that is no NAME=VALUE, or a list that isn't closed; two experiments; or a damaged
            file of configs/.
    """
    fitted = [_fit(words, place, configs, known) for place in range(len(words))]
    for word, typed in zip(fitted, words, strict=True):
        if is_sweep and (parsed := _parsed(word)) and parsed.is_range_sweep() and _is_single(word, parsed):
            raise ConfigError(f"{word}: one value alone; name a smaller step, say range(0.1,0.5,0.1)")
        if is_sweep and (ends := _RANGE.fullmatch(typed)) and not _TIMES.match(typed):
            raise ConfigError(f"{typed}: a range is written '{ends[1]}=range({ends[2]},{ends[3]},{ends[4]})'")
        if is_sweep and word != typed and "," in typed:
            _check_values(typed)
            each = shlex.quote(typed.replace("=", '="', 1).replace(",", '","') + '"')
            raise ConfigError(f"{typed}: quote each value of the sweep: {each}")
    named = [word.partition("=")[2] for word in fitted if word.startswith("+exp=")]
    if len(named) > 1:
        both = ",".join(named)
        raise ConfigError(f"exp: named {len(named)} times ({both}); name one, or with -m +exp={both} all")
    config_file.check_chosen(fitted, configs)
    return fitted


def explain(error: Exception, words: Sequence[str], configs: Path, known: Collection[str]) -> str:
    """Return one line for an error of Hydra's: what was wrong, and what would be right.

    Args:
        error: that was raised.
        words: that were composed.
        configs: the folder of configurations.
        known: names of all settings.
    """
    text = str(error)
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    if isinstance(error, yaml.YAMLError):
        return config_file.explain(error)
    if isinstance(error, UnicodeDecodeError):
        _check_all(configs)
    config_file.check(configs / "config.yaml")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _no_option(error.missing_cfg_file.strip("/"), error.options)
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        return _several(found[1], configs)
    for pattern, tell in _TOLD:
        if found := re.search(pattern, text):
            return tell(found, first, known)
    return "; ".join(_unnamed(words, configs)) or first


def example(key: str, configs: Path) -> str:
    """Return what to write behind a setting's `=`: the other value of a switch, else VALUE."""
    usual = OmegaConf.select(OmegaConf.load(configs / "config.yaml"), key)
    return str(not usual).lower() if isinstance(usual, bool) else "VALUE"


def _check_all(configs: Path) -> None:
    """Refuse the file that Hydra has read and doesn't name."""
    for path in sorted(configs.rglob("*.yaml")):
        if not path.name.startswith("."):
            config_file.check(path)


def _could_not_override(found: re.Match[str], _first: str, known: Collection[str]) -> str:
    key = found[1].split("@")[0]
    if users := USED_BY.get(key.removeprefix("wiring.")) if key in known else None:
        return (
            f"{key}: a setting of wiring={listed(sorted(users))} alone; choose one of these, or leave it out"
        )
    return "exp: write it as +exp=NAME" if key == "exp" else no_such_setting(key, known)


# Hydra's sentences, and what to say instead: of the match, of their first line, and of all settings
_TOLD: tuple[tuple[str, Callable[[re.Match[str], str, Collection[str]], str]], ...] = (
    (r"^Could not override '([^']+)'", _could_not_override),
    (
        r"^Could not append to config\. An item is already at '([^']+)'",
        lambda found, *_: f"{found[1]}: a setting that is there; write {found[1]}=VALUE, without the +",
    ),
    (
        r"^Multiple values for (\S+)\.",
        lambda found, *_: f"{found[1]}: chosen already; write {found[1]}=NAME, without the +",
    ),
    (
        r"^(\S+) appears more than once in the final defaults list",
        lambda found, *_: f"{found[1]}: chosen twice; leave one out, or write {found[1]}=NAME",
    ),
    (
        r"^force-add of config groups is not supported: '\+*(.*)'",
        lambda found, *_: f"write it as +{found[1]}",
    ),
    (r"^Could not delete from config\. '([^']+)' does not exist", _could_not_override),
    (
        r"^Interpolation key '([^']+)' not found\s+full_key: (\S+)",
        lambda found, *_: (
            f"{found[2]}: no setting {found[1]!r} that ${{{found[1]}}} could stand for; "
            f"a variable of the shell is ${{oc.env:{found[1]}}}"
        ),
    ),
    (
        r"Environment variable '([^']+)' not found[\s\S]*full_key: (\S+)",
        lambda found, *_: f"{found[2]}: the variable {found[1]} isn't set",
    ),
    (r"full_key: (\S+)", lambda found, first, _known: f"{found[1]}: {first}"),
)


def _check_values(typed: str) -> None:
    """Refuse what is meant for the values of a sweep, and isn't whole."""
    key, _, value = typed.partition("=")
    values = value.split(",")
    if "" in values:
        rest = ",".join(filter(None, values))
        raise ConfigError(f"{typed}: a value is missing beside a comma; write {key}={rest}")
    if found := re.match(rf"({'|'.join(_FUNCTIONS)})\(", value):
        raise ConfigError(f"{typed}: {found[1]}( isn't closed, or has a part that needs quotes")
    if found := re.fullmatch(r"(\w+)\([^()]*\)", value):
        there = did_you_mean(found[1], _FUNCTIONS) or f"; there are: {', '.join(_FUNCTIONS)}"
        raise ConfigError(f"{typed}: no function {found[1]!r}{there}")


def _fit(words: Sequence[str], place: int, configs: Path, known: Collection[str]) -> str:
    word = words[place]
    key, equals, value = word.partition("=")
    if key.startswith("~"):
        raise ConfigError(_removal(key[1:], configs, known))
    if not equals or not key:
        _bare(words, place, configs, known)
    if _KEY.fullmatch(key) is None:
        raise ConfigError(no_such_setting(key.lstrip("+~").strip(), known))
    if _parsed(f"{key}=1") is None:
        raise ConfigError(no_such_setting(key.lstrip("+~"), known))
    if not value and place + 1 < len(words) and "=" not in words[place + 1] and words[place + 1][0] != "~":
        raise ConfigError(f"{word} {words[place + 1]}: {_AROUND}: {word}{words[place + 1]}")
    if re.match(r"\w+\.(\w+_)?options\b", key) and not key.startswith(
        "+"
    ):  # of a class of the user's own, with whatever names
        word = f"++{word}"
        key = f"++{key}"
    if _parsed(word) is not None:
        return word
    return _quoted(key, value)


def _quoted(key: str, value: str) -> str:
    """Return a word whose value the grammar doesn't take as the text that it is."""
    word = f"{key}={value}"
    if found := _BRACES.fullmatch(value):
        raise ConfigError(f"{word}: the values of a sweep have no braces around them: -m {key}={found[1]}")
    if value[0] in "[{" or (value[0] in "\"'" and len(value) > 1 and value[0] not in value[1:]):
        raise ConfigError(f"{word}: not closed, or with a part that needs quotes: {key}='[\"a=b\",c]'")
    doubled = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ("\\" if found[2] else "") + found[2], value)
    quoted = f'{key}="{doubled}"'
    if _parsed(quoted) is None:
        raise ConfigError(f"{word!r}: can't be the value of a setting")
    return quoted


def check_paths(values: Mapping[str, Any]) -> None:
    """Refuse files and folders in composed values that aren't what the shell would have made of them.

    Raises:
        ConfigError: the home folder of nobody, or a variable of the shell's.
    """
    for key in _PATHS:
        found: Any = values
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        for one in found if isinstance(found, list) else [found]:
            if isinstance(one, str) and "://" not in one:
                try:
                    command.expanded(one)
                except ValueError as error:
                    raise ConfigError(f"{key}: {error}") from None


def _removal(key: str, configs: Path, known: Collection[str]) -> str:
    """Return what to say of a removal: without a setting that is there, a run would have no value for it."""
    if key not in known:
        return no_such_setting(key, known)
    instead = f"{key}=NAME chooses another" if (configs / key).is_dir() else f"{key}=VALUE sets it"
    return f"~{key}: settings can't be removed; leave it out, or {instead}"


def _bare(words: Sequence[str], place: int, configs: Path, known: Collection[str]) -> NoReturn:
    """Refuse what is no NAME=VALUE."""
    word = words[place]
    follows = words[place + 1] if place + 1 < len(words) else ""
    if follows.startswith("="):
        parts = words[place : place + (3 if follows == "=" else 2)]
        raise ConfigError(f"{' '.join(parts)}: {_AROUND}: {''.join(parts)}")
    if place and "=" in words[place - 1] and words[place - 1].endswith(","):
        values = itertools.takewhile(lambda one: "=" not in one, words[place:])
        whole = words[place - 1] + "".join(values)
        raise ConfigError(f"{words[place - 1]} {word}: write it without spaces behind commas: {whole}")
    names = config_file.options(configs / "exp")
    if word.lstrip("+") in known:
        raise ConfigError(f"{word}: must be NAME=VALUE, {word}={example(word.lstrip('+'), configs)}")
    if word.lstrip("+") in names:
        raise ConfigError(f"{word}: write it as +exp={word.lstrip('+')}")
    if os.sep in word and os.path.lexists(word):
        raise ConfigError(f"{word}: a {'folder' if os.path.isdir(word) else 'file'}, must be NAME=VALUE")  # noqa: PTH112
    meant = did_you_mean(word, names) or did_you_mean(word, known)
    raise ConfigError(f"{word or repr(word)}: must be NAME=VALUE{meant}")


def _is_single(word: str, sweep: Override) -> bool:
    try:
        return len(list(itertools.islice(sweep.sweep_iterator(), 2))) == 1
    except ValueError as error:  # of a step of 0
        raise ConfigError(f"{word}: {error}") from None


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _no_option(missing: str, options: Sequence[str]) -> str:
    group, _, name = missing.partition("/")
    if group == "hydra":
        group, _, name = missing.rpartition("/")
    if group == "exp" and " " in name and "=" in name:
        return f"exp: {name!r}: several words within quotes; without these: +exp={name}"
    if group == "exp":
        nearest = did_you_mean(name.rpartition("/")[2], options)
        return f"exp: no experiment {name!r}{nearest or '; there are: ' + ', '.join(options)}"
    if group == "model" and f"{name}/" in LIBRARIES:
        return f"model={name}: which of its networks? model={name}/NAME, say model={name}/resnet18"
    if group in {"model", "wiring"} and (instead := written(name)):
        return f"{group}={name}: must be {instead}"
    libraries = [f"{library}NAME" for library in LIBRARIES] if group == "model" else []
    there = ", ".join([*options, *libraries])
    return f"{group}: no option {name!r}{did_you_mean(name, options)}; there are: {there}"


def _several(word: str, configs: Path) -> str:
    key, _, value = word.replace("\\'", "'").partition("=")
    key = key.removeprefix("++")
    quoted = shlex.quote(f'{key}="{value}"')
    if key.startswith("environment."):
        return f"{key}={value}: several values; write {quoted} for one text with a comma"
    told = f"{key}={value}: several values; add --multirun for a run with each"
    usual = OmegaConf.select(OmegaConf.load(configs / "config.yaml"), key, throw_on_missing=False)
    if key == "+exp" or isinstance(usual, bool | int | float):
        return told
    return f"{told}, write {key}=[{value}] for a list, or {quoted} for one text with a comma"


def _unnamed(words: Sequence[str], configs: Path) -> list[str]:
    """Return what to say of each choice of a group by something that is no name."""
    found = ((word.lstrip("+").partition("=")[0], word, _parsed(word)) for word in words)
    wrong = [
        (key, word) for key, word, override in found if override and not isinstance(override.value(), str)
    ]
    return [
        f"{word}: {key} is chosen by its name, one of {', '.join(config_file.options(configs / key))}"
        for key, word in wrong
        if (configs / key).is_dir()
    ]
