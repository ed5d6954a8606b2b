"""Which ways are refused on the login node, and all of them at once, in time, on a node."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
from local_servers import free_port, mail_server, web
from run_folder import make

from dnw.config import ConfigError
from launch.config import Notify
from launch.node.notices import channels, chat, mail
from launch.node.notices.channels import Channels

FACTS = {
    **{"event": "done", "attempt": 1, "job": None, "host": "n1", "reason": "done", "detail": None},
    **{"step": 10, "top1": 61.5},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("SLACK_WEBHOOK_URL", "NTFY_TOPIC", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_none_are_asked_for() -> None:
    assert channels.channels(Notify(command="tell")) is None


def test_what_a_job_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    asked = Notify(mail=("me@uni.edu",), smtp="mail", slack=True, ntfy="./mine")
    assert channels.channels(asked) == Channels(("me@uni.edu",), "mail", "", str(tmp_path / "mine"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mail": ("me",), "smtp": "x"}, "notify.mail: must be an address"),
        ({"mail": ("me@uni.edu\nBcc: x@y",), "smtp": "x"}, "notify.mail: must be an address"),
        ({"mail": ("me@uni.edu",), "smtp": "me:pw@host"}, "notify.smtp: must be HOST"),
        ({"smtp": "host"}, "notify.smtp: there is no mail to send"),
        ({"mail": ("me@uni.edu",)}, "notify.mail: no sendmail here"),
        ({"slack": "https://hooks.slack.com/SECRET"}, "notify.slack: must be true, or a file"),
        ({"ntfy": "SECRET"}, "notify.ntfy: must be true, or a file"),
        ({"slack": True}, "notify.slack: "),
        ({"ntfy": "./nowhere"}, "nowhere: not there; "),
    ],
)
def test_refused(asked: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "sendmail", lambda: None)
    with pytest.raises(ConfigError) as caught:
        channels.check(dataclasses.replace(Notify(), **asked))
    assert said in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_all_at_once(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with web() as server, mail_server() as (address, mails):
        monkeypatch.setenv("SLACK_WEBHOOK_URL", f"{server.address}/services/SECRET")
        monkeypatch.setenv("NTFY_TOPIC", f"{server.address}/topic")
        asked = Notify(mail=("me@uni.edu",), smtp=address, slack=True, ntfy=True)
        channels.check(asked)
        to = channels.channels(asked)
        assert to is not None
        channels.send(to, make(home / "runs"), FACTS)
        assert len(mails) == 1
        assert {path.strip("/") for path, _, _ in server.requests} == {"services/SECRET", ""}
    assert capfd.readouterr() == ("", "")


def test_what_fails_costs_a_line_each(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    port, run = free_port(), make(home / "runs")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"http://127.0.0.1:{port}/SECRET")
    channels.send(Channels(("me@uni.edu",), f"127.0.0.1:{port}", "", ""), run, FACTS)
    lines = capfd.readouterr().err.splitlines()
    refused = f"127.0.0.1:{port}: "
    assert [line.partition(refused)[0] for line in lines[:2]] == [
        f"{run.name}: notify.mail: ",
        f"{run.name}: notify.slack: ",
    ]
    assert lines[2].startswith(f"{run.name}: notify.ntfy: {home}/.config/dnw/ntfy: not there")
    assert all(line.endswith("; the run is as it was") for line in lines)
    assert len(lines) == 3


def test_nobody_waits_for_a_name_that_is_not_found(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """getaddrinfo has no time limit of its own, and none that can be set."""
    monkeypatch.setattr(channels, "LIMIT_S", 0.2)
    monkeypatch.setattr(chat, "to_slack", lambda *_: time.sleep(5))
    channels.send(Channels(slack=""), make(home / "runs"), FACTS)
    assert "notify.slack: not sent within 0.2 s; the run is as it was\n" in capfd.readouterr().err
