"""Notices to Slack, and to those that take the same (Mattermost, Rocket.Chat), and to ntfy: one POST each."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote, urlsplit

from launch.node.notices import secret
from launch.node.notices.message import Message, NoticeError, printable

ANSWER_CHARACTERS = 100  # of a refusal, that are shown
BUSY_S = 2.0  # until a server is asked again that has too much to do and doesn't say until when
NTFY_BYTES = 4000  # of 4096, above which ntfy makes an attachment of a message


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An address that is a secret is told to nobody else, and a POST that is sent on becomes a GET."""

    def redirect_request(self, *_: object) -> None:
        return None


def to_slack(message: Message, file: str, timeout_s: float) -> None:
    """Post to an incoming webhook.

    Args:
        message: what to say.
        file: that has the webhook; "": the variable, or the usual file.
        timeout_s: for all tries together.

    Raises:
        NoticeError: it was not taken.
    """
    (address,) = secret.read("slack", file)
    text = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    _post(address, {"text": text, "mrkdwn": False, "unfurl_links": False}, {}, timeout_s)


def to_ntfy(message: Message, file: str, timeout_s: float) -> None:
    """Publish to a topic.

    Args:
        message: what to say.
        file: that has the topic; "": the variable, or the usual file.
        timeout_s: for all tries together.

    Raises:
        NoticeError: it was not taken.
    """
    address, *token = secret.read("ntfy", file)
    server, _, topic = address.rpartition("/")
    if server.endswith(("/", ":")) or not topic:
        raise NoticeError("the address has no topic; it is https://SERVER/TOPIC")
    body = {
        "topic": unquote(topic),
        "title": message.title,
        "message": message.text.encode()[:NTFY_BYTES].decode(errors="ignore"),
        "priority": 3 if message.is_good else 4,
        "tags": ["white_check_mark" if message.is_good else "warning"],
    }
    _post(server, body, {"Authorization": f"Bearer {token[0]}"} if token else {}, timeout_s, (topic, *token))


def _post(
    address: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    timeout_s: float,
    secrets: Collection[str] = (),
) -> None:
    """Post JSON, through the proxy that the environment names if it names one. Raises NoticeError."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
    )
    opener, deadline = urllib.request.build_opener(_NoRedirects), time.monotonic() + timeout_s
    while True:
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                answer.read(ANSWER_CHARACTERS)
            return
        except urllib.error.HTTPError as error:
            with error:  # which holds the connection
                pause_s = _pause_s(error)
                told = _told(error, (address, parts.path, *secrets))
            if pause_s is None or time.monotonic() + pause_s > deadline:
                raise NoticeError(f"{host} answers {told}") from None
        except urllib.error.URLError as error:
            raise NoticeError(f"{host}: {error.reason}") from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a port that is no number
            raise NoticeError(f"{host}: {type(error).__name__}") from None
        time.sleep(pause_s)


def _pause_s(error: urllib.error.HTTPError) -> float | None:
    """Return when to try again; None: it would be refused again.

    The runs of a sweep may end together, and both services take about one message a second.
    """
    if error.code != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    said = error.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else BUSY_S


def _told(error: urllib.error.HTTPError, secrets: Collection[str]) -> str:
    """Return what a server said against a request, in one line that holds no secret."""
    said = error.read(1000).decode(errors="replace")
    for one in secrets:
        said = said.replace(one, "...") if len(one) > 1 else said
    said = " ".join(printable(said).split())[:ANSWER_CHARACTERS]
    return f"{error.code}: {said}" if said else str(error.code)
