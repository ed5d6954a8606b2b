"""By which ways notices are sent beside the user's command, and sending them: mail, Slack, ntfy."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dnw.config import ConfigError
from dnw.runs.folder import Run
from launch.config import Notify
from launch.node.notices import message, secret
from launch.node.notices.message import NoticeError

LIMIT_S = 20.0  # for all of them together, names of hosts looked up included
_MAIL_ADDRESS = re.compile(r"[^\s@,;<>()\"\\]+@[^\s@,;<>()\"\\]+")
_SERVICES = {"slack": "webhook", "ntfy": "topic"}


@dataclass(frozen=True)
class Channels:
    """Ways to be told, as a job knows them: no secret, but where one is."""

    mail: tuple[str, ...] = ()  # addresses
    smtp: str | None = None  # mail server; None: sendmail
    slack: str | None = None  # file of the webhook; "": $SLACK_WEBHOOK_URL, or the usual file
    ntfy: str | None = None  # file of the topic; "": $NTFY_TOPIC, or the usual file


def channels(asked: Notify) -> Channels | None:
    """Return the ways that were asked for, if any."""
    files = {name: _file(getattr(asked, name)) for name in _SERVICES}
    if not asked.mail and not any(file is not None for file in files.values()):
        return None
    return Channels(asked.mail, asked.smtp, **files)


def _file(value: bool | str) -> str | None:
    if isinstance(value, str):
        return str(Path(value).expanduser().absolute())
    return "" if value else None


def check(asked: Notify) -> None:
    """Refuse ways by which no notice could be sent, on the login node.

    Raises:
        ConfigError: with all of them, a line for each; secrets aren't in it.
    """
    if problems := [*_of_mail(asked), *_of_secrets(asked)]:
        raise ConfigError("\n".join(problems))


def _of_mail(asked: Notify) -> Iterator[str]:
    from launch.node.notices import mail  # noqa: PLC0415  (few ask for it)

    for one in asked.mail:
        if not one.isprintable() or not _MAIL_ADDRESS.fullmatch(one):
            yield f"notify.mail: must be an address, or a list [me@example.org,you@example.org] (got {one!r})"
    if asked.smtp is not None:
        try:
            mail.address(asked.smtp)
        except ValueError:
            yield (
                "notify.smtp: must be HOST, HOST:PORT or smtps://HOST of a mail server; a login stands in "
                "~/.netrc, as machine HOST login NAME password PASSWORD"
            )
        if not asked.mail:
            yield "notify.smtp: there is no mail to send; name who gets it with notify.mail="
    elif asked.mail and mail.sendmail() is None:
        yield "notify.mail: no sendmail here; name your site's mail server: notify.smtp=HOST"


def _of_secrets(asked: Notify) -> Iterator[str]:
    for service, what in _SERVICES.items():
        value = getattr(asked, service)
        if isinstance(value, str) and ("://" in value or "/" not in value):
            yield (
                f"notify.{service}: must be true, or a file with its folder, ./FILE; the {what} itself is as "
                "good as a password, and would be kept in the run folder: put it into "
                f"{secret.usual_file(service)}, with mode 600"
            )
        elif value:
            try:
                secret.read(service, _file(value) or "")
            except NoticeError as error:
                yield f"notify.{service}: {error}"


def send(to: Channels, run: Run, facts: Mapping[str, Any]) -> None:
    """Send a notice by all ways at once.

    Nothing is raised: one that can't be sent, or not within LIMIT_S, costs one line of warning, and no more.

    Args:
        to: the ways.
        run: the run.
        facts: what a command is told, as notify.told has it.
    """
    from launch.node.notices import chat, mail  # noqa: PLC0415  (few ask for it)

    said = message.compose(run, facts)
    ways: dict[str, Callable[[], None]] = {}
    if to.mail:
        ways["mail"] = partial(mail.send, said, to.mail, to.smtp, LIMIT_S)
    if to.slack is not None:
        ways["slack"] = partial(chat.to_slack, said, to.slack, LIMIT_S)
    if to.ntfy is not None:
        ways["ntfy"] = partial(chat.to_ntfy, said, to.ntfy, LIMIT_S)
    problems = dict.fromkeys(ways, f"not sent within {LIMIT_S:g} s")
    # Looking up a host's name has no time limit of its own; nobody waits for a daemon thread.
    threads = [
        threading.Thread(target=_try, args=(name, way, problems), daemon=True) for name, way in ways.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LIMIT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for name, problem in dict(problems).items():
        print(f"{run.name}: notify.{name}: {problem}; the run is as it was", file=sys.stderr, flush=True)


def _try(name: str, way: Callable[[], None], problems: dict[str, str]) -> None:
    try:
        way()
    except NoticeError as error:
        problems[name] = str(error)
    except Exception as error:
        problems[name] = type(error).__name__
    else:
        del problems[name]
