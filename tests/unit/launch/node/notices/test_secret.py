"""Where an address is kept that is as good as a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.node.notices import secret
from launch.node.notices.message import NoticeError

WEBHOOK = "https://hooks.slack.com/services/T/B/SECRET"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in secret.VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_where_it_is_looked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".config" / "dnw" / "slack", f"{WEBHOOK}\n")
    write(home / "other", f"{WEBHOOK}/other")
    assert secret.read("slack") == [WEBHOOK]
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"{WEBHOOK}/variable")
    assert secret.read("slack") == [f"{WEBHOOK}/variable"]
    assert secret.read("slack", str(home / "other")) == [f"{WEBHOOK}/other"]


def test_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTFY_TOPIC", "mine")
    assert secret.read("ntfy") == ["https://ntfy.sh/mine"]
    monkeypatch.setenv("NTFY_TOPIC", "https://ntfy.uni.edu/mine tk_1")
    assert secret.read("ntfy") == ["https://ntfy.uni.edu/mine", "tk_1"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_others_may_not_read_it(home: Path, mode: int) -> None:
    write(home / "kept", WEBHOOK, mode)
    with pytest.raises(NoticeError, match=f"chmod 600 {home}/kept"):
        secret.read("slack", str(home / "kept"))


@pytest.mark.parametrize("text", ["", "HIDDEN", f"{WEBHOOK} HIDDEN", "ftp://x/HIDDEN", "https://é/HIDDEN"])
def test_what_is_no_webhook(home: Path, text: str) -> None:
    write(home / "kept", text)
    with pytest.raises(NoticeError, match="must hold the address of an incoming webhook") as caught:
        secret.read("slack", str(home / "kept"))
    assert "HIDDEN" not in str(caught.value).replace(str(home), "")


def test_where_there_is_none(home: Path) -> None:
    with pytest.raises(NoticeError, match=r"not there, and \$NTFY_TOPIC is not set; \(umask 077; "):
        secret.read("ntfy")


def test_without_a_home_folder_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.node.notices.secret.in_home", lambda *_: None)
    with pytest.raises(
        NoticeError, match=r"~/\.config/dnw/slack: not there, and \$SLACK_WEBHOOK_URL is not set"
    ):
        secret.read("slack")
