"""The command `dnw` that pip installs: `dnw submit +exp=imagenet_dnw nodes=2`, from any folder.

Each word stands for a command of a clone (launch/slurm.py, python -m dnw.evaluate, ...) and hands on all that
follows it; that command's own --help tells the rest.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

import dnw
from shards import environment, terminal

COMMANDS = {
    "submit": ("launch.slurm", "submit a run to Slurm, or with -m a sweep, and return at once"),
    "run": ("launch.local", "train here, in the foreground"),
    "runs": ("launch.runs", "status, logs, cancel, drill, table, ... of runs"),
    "train": ("dnw.train", "the worker itself on a prepared run folder, under torchrun"),
    "evaluate": ("dnw.evaluate", "accuracy and speed of a trained network"),
    "export": ("dnw.export", "a trained network as one file for use elsewhere"),
    "profile": ("dnw.profile", "parameters and multiply-adds"),
    "import": ("dnw.import_reference", "convert a checkpoint of the paper's own code"),
}
SHARDS = {
    "write": ("shards.write", "write a data set as WebDataset shards"),
    "verify": ("shards.verify", "find any damage"),
    "index": ("shards.index", "index shards that are there already"),
}
MISUSED = 2  # exit code of a command line that can't be followed


def main() -> None:
    """Run the command that the first word names, as `python -m` would.

    Raises:
        SystemExit: with that command's exit code; 0 after --help or --version; 2 for an unknown word.
    """
    terminal.begin()
    environment.require()
    _run("dnw", sys.argv[1:], {**COMMANDS, "shards": ("", "write, verify and index shards")})


def _run(said: str, words: Sequence[str], commands: dict[str, tuple[str, str]]) -> None:
    word = words[0] if words else "--help"
    if word in {"--version", "-V"}:
        print(f"dnw {dnw.__version__}")
    elif word in {"--help", "-h"}:
        print(_help(said, commands))
    elif word == "shards":
        _run("dnw shards", words[1:], SHARDS)
    elif word in commands:
        module, _ = commands[word]
        sys.argv = [f"{said} {word}", *words[1:]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        print(f"{said}: no command {word!r}; there are: {', '.join(commands)}", file=sys.stderr)
        sys.exit(MISUSED)


def _help(said: str, commands: dict[str, tuple[str, str]]) -> str:
    lines = [f"  {said} {word:10}{summary}" for word, (_, summary) in commands.items()]
    return "\n".join([f"usage: {said} COMMAND ...    (each has a --help of its own)", "", *lines])
