"""From a command line to composed configurations: where Hydra ends.

`hydra.main` reads the command line, so that --help, --cfg, -m and the completion of the Tab key work; its
"job" is `collect`, which only notes what was composed. Everything after happens here, once it has returned:
errors come out as one message, and a sweep is known as a whole before anything is submitted.
"""

from __future__ import annotations

import itertools
import os
import string
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from dnw import __version__, config_file
from dnw.compose import CONFIGS, NOT_COMPOSED, resolved
from dnw.config import ConfigError
from dnw.invocation import as_typed
from dnw.setting_errors import ELSEWHERE, no_such_setting
from dnw.words import check_paths, example, explain, fit, last_of_each
from launch import hydra_words
from launch.config import KEYS
from shards.errors import did_you_mean

# Hydra's options, whole: argparse would take --exp for --experimental-rerun, which unpickles a file
OPTIONS = frozenset(
    {
        "--help",
        "-h",
        "--hydra-help",
        "--version",
        "--cfg",
        "-c",
        "--resolve",
        "--package",
        "-p",
        "--run",
        "-r",
    }
    | {"--multirun", "-m", "--shell-completion", "-sc", "--config-dir", "-cd", "--info", "-i"}
)
# of these, those whose value is the next word
WITH_VALUE = frozenset(
    {"--cfg", "-c", "--package", "-p", "--shell-completion", "-sc", "--config-dir", "-cd", "--info", "-i"}
)
_VALUES = {
    **dict.fromkeys(["--cfg", "-c"], ("job", "hydra", "all")),
    **dict.fromkeys(
        ["--info", "-i"], ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    ),
}
_OTHER_CONFIG = frozenset({"--config-path", "-cp", "--config-name", "-cn"})
# of sbatch and srun, as settings
_SHORT = {
    **{"-N": "nodes", "-n": "nproc", "-t": "cluster.time", "-A": "cluster.account", "-q": "cluster.qos"},
    **{"-C": "cluster.constraint", "-w": "cluster.nodelist", "-x": "cluster.exclude"},
    **{"-G": "cluster.gpus_per_node"},
}
_LETTERS = {"-J": "job_name", "-o": "error", "-e": "error"}
_OF_SBATCH = frozenset(
    {"exclusive", "reservation", "comment", "licenses", "begin", "nice", "deadline", "export"}
)
# those that Hydra answers itself
_ANSWERED = frozenset({"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"})


@dataclass(frozen=True)
class StudyWords:
    """What a command line with hydra/sweeper=optuna asks for besides: launch/study/settings.py reads it."""

    sweeper: Mapping[str, Any]  # hydra.sweeper.NAME
    words: tuple[str, ...]  # settings as typed, those to choose from among them
    kept: tuple[str, ...]  # words for Hydra itself that each run is composed with


@dataclass(frozen=True)
class Composed:
    """One configuration as Hydra put it together: plain values, and the words that overrode the defaults."""

    values: dict[str, Any]
    overrides: tuple[str, ...]
    in_foreground: bool = False  # of a sweep with hydra/launcher=basic
    study: StudyWords | None = None  # this is a run of a study, with the first of the values to choose from
    apart: frozenset[str] = frozenset()  # of the overrides, those that not all runs of this sweep have


def compose(arguments: Sequence[str]) -> list[Composed]:
    """All configurations that a command line names: one, or with -m those of a sweep.

    Ends the program with 0 after printing, where the command line asks for that (--help, --cfg, ...).

    Raises:
        ConfigError: a word that names no experiment, no setting, or no value.
    """
    _check_options(arguments)
    if "--version" in arguments:
        print(f"dnw {__version__}")  # Hydra would print its own
        sys.exit(0)
    settings, options = _fit(arguments)
    words = [*settings, *options]
    found: list[tuple[DictConfig, tuple[str, ...], bool, StudyWords | None]] = []

    def collect(config: DictConfig) -> None:
        chosen = HydraConfig.get()
        overrides = OmegaConf.to_container(chosen.overrides.task)
        assert isinstance(overrides, list)
        is_basic = chosen.runtime.choices["hydra/launcher"] == "foreground"
        if chosen.job.env_set and isinstance(config.environment, DictConfig):
            with open_dict(config):
                config.environment = {**config.environment, **chosen.job.env_set}
        is_sweep = chosen.mode == RunMode.MULTIRUN
        is_study = is_sweep and chosen.runtime.choices["hydra/sweeper"] == hydra_words.STUDY
        study = _study_words(chosen.sweeper, settings) if is_study else None
        found.append((config, tuple(overrides), is_basic and is_sweep, study))

    try:
        _run_hydra(collect, words)
        composed = [Composed(resolved(config), typed, here, study) for config, typed, here, study in found]
    except NOT_COMPOSED as error:
        raise ConfigError(explain(error, words, CONFIGS, KEYS)) from None
    for one in composed:
        check_paths(one.values)
    composed = _told_apart(composed)
    _check_experiment(composed)
    if any(one.values.get("pack") is not None for one in composed) and not _is_sweep(arguments):
        raise ConfigError("pack: runs of a sweep share a job; type -m before them, width=0.1,0.2 or the like")
    if (
        not composed
        and _is_sweep(arguments)
        and not _ANSWERED & {word.partition("=")[0] for word in arguments}
    ):
        raise ConfigError("-m: this sweep has no values, so there is nothing to run")
    return composed


def _told_apart(composed: list[Composed]) -> list[Composed]:
    if len(composed) < 2:
        return composed
    common = frozenset.intersection(*(frozenset(one.overrides) for one in composed))
    return [replace(one, apart=frozenset(one.overrides) - common) for one in composed]


def _study_words(sweeper: DictConfig, settings: Sequence[str]) -> StudyWords:
    values = resolved(sweeper)
    keys = {word.lstrip("+").partition("=")[0] for word in settings}
    given = [f"{key}={value}" for key, value in (values["params"] or {}).items() if key not in keys]
    ours = [word for word in settings if not hydra_words.is_of_hydra(word)]
    return StudyWords(values, (*given, *ours), tuple(filter(hydra_words.is_of_each_run, settings)))


def _fit(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return settings, made fit for Hydra, and options with their values as they are."""
    taken = [False, *(word in WITH_VALUE for word in arguments)]
    ours = [not word.startswith("-") and not taken[place] for place, word in enumerate(arguments)]
    words = last_of_each([word for word, is_ours in zip(arguments, ours, strict=True) if is_ours])
    hydra_words.check(words, is_sweep=_is_sweep(arguments))
    options = [word for word, is_ours in zip(arguments, ours, strict=True) if not is_ours]
    return fit(words, CONFIGS, KEYS, is_sweep=_is_sweep(arguments)), options


def _is_sweep(arguments: Sequence[str]) -> bool:
    return bool({"-m", "--multirun"} & set(arguments))


def experiments() -> dict[str, str]:
    """Every experiment, and what its file says of it in the first line."""
    group = CONFIGS / "exp"
    return {name: config_file.first_comment(group / f"{name}.yaml") for name in config_file.options(group)}


def choices(group: str) -> list[str]:
    """Return the options of a config group."""
    return config_file.options(CONFIGS / group)


def _check_options(arguments: Sequence[str]) -> None:
    """Refuse what begins with a dash and is no option of Hydra's, or one that executes a file.

    Raises:
        ConfigError: with what was meant, as far as that can be told.
    """
    options = {word.partition("=")[0] for word in arguments}
    if {"--package", "-p"} & options and not {"--cfg", "-c"} & options:
        raise ConfigError("-p: names a part of what --cfg shows; a partition is cluster.partition=NAME")
    for word, follows in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        _check_value(option, value if equals else follows)
        if not word.startswith("-") or option in OPTIONS:
            continue
        if option == "--experimental-rerun":
            raise ConfigError(
                f"{option}: not taken, it executes what the file holds; type the run's line again"
            )
        is_value = follows and not follows.startswith("-") and "=" not in follows
        given = value if equals or not is_value else follows  # as other tools have it: --width 0.3
        raise ConfigError(f"{word}: {_no_option(option, given)}")


def _check_value(option: str, value: str) -> None:
    if option not in _VALUES or value in _VALUES[option]:
        return
    if option in {"--info", "-i"} and (not value or value.startswith("-")):
        return  # which it may go without
    raise ConfigError(f"{option}: must be followed by {', '.join(_VALUES[option])} (got {value!r})")


def _no_option(option: str, value: str) -> str:
    if option in _OTHER_CONFIG:
        return "not taken, as configs/config.yaml is always the first; name an experiment with +exp=NAME"
    name = option.lstrip("-").replace("-", "_")
    if name == "exp":
        return f"write it as +exp={value or 'NAME'}"
    is_setting = name.split(".")[0] in {key.split(".")[0] for key in KEYS}
    meant = [name] if is_setting else [key for key in KEYS if key.rpartition(".")[2] == name]
    if not option.startswith("--") and option[:2] in _SHORT:
        meant, value = [_SHORT[option[:2]]], value or option[2:]
    if meant:
        typed = " or ".join(f"{key}={value or example(key, CONFIGS)}" for key in meant)
        return f"a setting, which has no dashes: {typed}"
    return f"no such option{_instead(option, name, value)}"


def _instead(option: str, name: str, value: str) -> str:
    """Return what to say after "no such option"."""
    name = _LETTERS.get(option, name)
    of_sbatch = f"; one of sbatch is written cluster.additional_parameters.{name}={value or 'VALUE'}"
    if name in ELSEWHERE:
        return f"; here it is {ELSEWHERE[name]}"
    if not option.startswith("--") or not name:
        return "; settings have no dashes: NAME=VALUE"
    nearest = did_you_mean(option, [one for one in sorted(OPTIONS) if len(one) > 2])
    return of_sbatch if name in _OF_SBATCH or not nearest else nearest


def _run_hydra(task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    # argparse takes -m before or after the settings, but not among them
    words = sorted(
        map(hydra_words.as_hydra_has_it, arguments), key=lambda word: word not in {"-m", "--multirun"}
    )
    sys.argv = [sys.argv[0], *words]  # the only place where hydra.main looks
    os.environ["HYDRA_FULL_ERROR"] = "1"  # have Hydra raise its errors instead of printing them
    try:
        with tempfile.TemporaryDirectory(prefix="dnw-") as discarded:
            _register(discarded)
            if {"--help", "-h"} & set(words):
                print(_help())
                sys.exit(0)
            hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")(task)()
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _help() -> str:
    """Return what Hydra would print too, for which it first lists all its groups: half a second."""
    config = OmegaConf.load(CONFIGS / "config.yaml")
    return as_typed(string.Template(str(config.hydra.help.template)).substitute())


def _register(discarded_folder: str) -> None:
    """Register what configs/config.yaml refers to: lists for the help, a folder for what Hydra writes."""
    resolvers: dict[str, Callable[..., str]] = {
        "experiments": _listed_experiments,
        "choices": lambda group: ", ".join(choices(group)),
        "discarded_folder": lambda: discarded_folder,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _listed_experiments() -> str:
    found = experiments()
    width = max(map(len, found))
    return "\n".join(f"  {name:{width}}  {line}" for name, line in found.items())


def _check_experiment(found: list[Composed]) -> None:
    unknown = {key for composed in found for key in composed.values} - {key.split(".")[0] for key in KEYS}
    if unknown:
        raise ConfigError("\n".join(no_such_setting(key, KEYS) for key in sorted(unknown)))
    for composed in found:
        _check_name(composed)
    if any(composed.values.get("exp") == "???" for composed in found):
        raise ConfigError(f"exp: name an experiment with +exp=NAME, one of\n{_listed_experiments()}")


def _check_name(composed: Composed) -> None:
    """Refuse an experiment's file that was copied, and still says `exp:` what the other one is called."""
    words = [word.removeprefix("+exp=") for word in composed.overrides if word.startswith("+exp=")]
    chosen, said = words[-1].strip("'\"") if words else "", composed.values["exp"]
    if chosen and not chosen.startswith("[") and said != chosen:
        named = "nothing" if said == "???" else said
        raise ConfigError(f"exp: the file of +exp={chosen} says {named}; write there exp: {chosen}")
