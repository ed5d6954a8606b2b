"""Slack and ntfy: what a real HTTP server gets of them, and what is said where it doesn't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local_servers import Web, free_port, web

from launch.node.notices import chat
from launch.node.notices.message import Message, NoticeError

SAID = Message("demo/a: failed", "<!channel> a & b\n*größer*", is_good=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "no_proxy",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    with web() as found:
        yield found


def kept(folder: Path, text: str) -> str:
    path = folder / "address"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_slack(server: Web, tmp_path: Path) -> None:
    chat.to_slack(SAID, kept(tmp_path, f"{server.address}/services/T/B/SECRET\n"), 20)
    ((path, headers, body),) = server.requests
    assert path == "/services/T/B/SECRET"
    assert headers["Content-Type"] == "application/json"
    assert body == {"text": "&lt;!channel&gt; a &amp; b\n*größer*", "mrkdwn": False, "unfurl_links": False}


def test_ntfy(server: Web, tmp_path: Path) -> None:
    chat.to_ntfy(SAID, kept(tmp_path, f"{server.address}/topic tk_secret"), 20)
    ((path, headers, body),) = server.requests
    assert path in {"", "/"}
    assert headers["Authorization"] == "Bearer tk_secret"
    assert body == {
        **{"topic": "topic", "title": SAID.title, "message": SAID.text, "priority": 4},
        "tags": ["warning"],
    }


def test_ntfy_without_a_token_and_with_a_long_message(server: Web, tmp_path: Path) -> None:
    chat.to_ntfy(Message("t", "ö" * 5000, is_good=True), kept(tmp_path, f"{server.address}/topic"), 20)
    ((_, headers, body),) = server.requests
    assert "Authorization" not in headers
    assert body["message"] == "ö" * 2000
    assert body["priority"] == 3


def test_an_address_without_topic(tmp_path: Path) -> None:
    with pytest.raises(NoticeError, match="no topic"):
        chat.to_ntfy(SAID, kept(tmp_path, "https://ntfy.example.org"), 20)


def test_a_refusal_is_told_without_the_address(server: Web, tmp_path: Path) -> None:
    server.answer = (403, f"no_service\n\x1b[2J {server.address}/services/SECRET /services/SECRET")
    with pytest.raises(NoticeError) as caught:
        chat.to_slack(SAID, kept(tmp_path, f"{server.address}/services/SECRET"), 20)
    assert str(caught.value) == f"{server.address[7:]} answers 403: no_service [2J ... ..."
    server.answer = (401, "tk_secret may not publish to topic")
    with pytest.raises(NoticeError, match=r"answers 401: \.\.\. may not publish to \.\.\.$"):
        chat.to_ntfy(SAID, kept(tmp_path, f"{server.address}/topic tk_secret"), 20)


def test_no_redirect_is_followed(server: Web, tmp_path: Path) -> None:
    server.answer, server.location = (302, ""), f"{server.address}/login"
    with pytest.raises(NoticeError, match=r"answers 302$"):
        chat.to_slack(SAID, kept(tmp_path, f"{server.address}/services/SECRET"), 20)
    assert len(server.requests) == 1


def test_a_server_that_is_busy_is_asked_again(server: Web, tmp_path: Path) -> None:
    server.is_busy = True
    kept_in = kept(tmp_path, f"{server.address}/services/SECRET")
    with pytest.raises(NoticeError, match=r"answers 429: ok$"):
        chat.to_slack(SAID, kept_in, 0.5)  # which ends before it would be asked again
    server.requests.clear()
    chat.to_slack(SAID, kept_in, 20)
    assert len(server.requests) == 2


def test_through_a_proxy(server: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    chat.to_slack(SAID, kept(tmp_path, "http://chat.example.org/hooks/SECRET"), 20)
    assert server.requests[0][0] == "http://chat.example.org/hooks/SECRET"


@pytest.mark.parametrize("what", ["free", "port"])
def test_where_nobody_answers(server: Web, tmp_path: Path, what: str) -> None:
    port = free_port() if what == "free" else what
    with pytest.raises(NoticeError, match=f"^127.0.0.1:{port}: ") as caught:
        chat.to_slack(SAID, kept(tmp_path, f"http://127.0.0.1:{port}/services/SECRET"), 20)
    assert "SECRET" not in str(caught.value)
