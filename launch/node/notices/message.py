"""What a notice says: one text for mail, Slack and ntfy, made of what a command is told as JSON."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dnw.invocation import RUN, RUNS, SUBMIT
from dnw.runs.folder import Run
from shards.errors import without_credentials

DETAIL_CHARACTERS = 2000  # ntfy makes an attachment of what is longer than 4096 bytes
TITLE_CHARACTERS = 250  # which ntfy shows, and a mail has on one line
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_SIGNED = re.compile(r"(\bhttps?://[^\s?'\"]*)\?[^\s'\",]*")  # what stands behind ? may allow to read it
_COMMAND = re.compile(r"(\+*notify\.command)=.*", re.DOTALL)
_VARIABLE = re.compile(r"(\+*(?:environment|hydra\.job\.env_set)(?:\.\w+)?)=.*", re.DOTALL)


class NoticeError(Exception):
    """A notice that wasn't sent; the message says why, and holds no address that is a secret."""


@dataclass(frozen=True)
class Message:
    """A notice."""

    title: str  # one line
    text: str
    is_good: bool  # nobody has to do anything


def compose(run: Run, facts: Mapping[str, Any]) -> Message:
    """Return the notice of a run.

    Args:
        run: that it is about.
        facts: what a command is told, as notify.told has it.
    """
    event, top1 = str(facts["event"]), facts["top1"]
    is_good = event == "done"
    result = f", top-1 {top1:.2f} %" if isinstance(top1, float | int) else ""
    lines = [f"{run.name}: {event}{result}"]
    if facts["step"] is not None:
        lines.append(f"step {facts['step']}")
    lines.append(f"attempt {facts['attempt']}, job {facts['job'] or '-'} on {facts['host']}")
    if not is_good:
        lines.append(f"cause: {facts['reason']}")
        if facts["detail"]:
            lines.append(_cut(_without_secrets(str(facts["detail"]), run)))
    lines += ["", *_commands(run, event)]
    title = " ".join(printable(f"{run.name}: {event}{result}").split())
    return Message(title[:TITLE_CHARACTERS], "\n".join(map(printable, lines)), is_good)


def printable(text: str) -> str:
    """Return a text without control characters; lines stay."""
    return _CONTROL.sub(" ", text)


def _cut(text: str) -> str:
    return text if len(text) <= DETAIL_CHARACTERS else f"{text[:DETAIL_CHARACTERS]} ..."


def _commands(run: Run, event: str) -> list[str]:
    """Return what to type next; how to go on after a divergence its own message says."""
    folder = shlex.quote(str(run.folder))
    if event == "done":
        return [f"{RUNS} table {folder}"]
    logs = [] if event == "not begun" else [f"{RUNS} logs {folder}"]
    return [*logs, *([] if event == "diverged" else _again(run))]


def _again(run: Run) -> list[str]:
    """Return the line that goes on with the run, as it was typed, without secrets."""
    typed = [word for word in _words(run) if word.lstrip("+").partition("=")[0] != "fresh"]
    return [shlex.join([*shlex.split(_command(run)), *map(_hidden, typed)])] if run.launch.exists() else []


def _without_secrets(text: str, run: Run) -> str:
    """Return a text, in which what was typed may be repeated, without secrets."""
    for word in _words(run):
        text = text.replace(shlex.quote(word), shlex.quote(_hidden(word)))
    return _addressed(text)


def _hidden(word: str) -> str:
    """Return a word that was typed, without what may be a secret."""
    return _COMMAND.sub(r"\1=...", _VARIABLE.sub(r"\1=...", _addressed(word)))


def _addressed(text: str) -> str:
    """Return a text without passwords and signatures in its addresses."""
    return _SIGNED.sub(r"\1?...", without_credentials(text))


def _command(run: Run) -> str:
    return RUN if json.loads(run.launch.read_bytes()).get("cluster") == "foreground" else SUBMIT


def _words(run: Run) -> list[str]:
    """Return the words that the run was launched with last."""
    return list(json.loads(run.launch.read_bytes()).get("words", ())) if run.launch.exists() else []
