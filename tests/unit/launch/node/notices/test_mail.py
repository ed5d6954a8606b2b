"""Mail, taken by a real server: plain, encrypted, with a login, and by a program."""

from __future__ import annotations

import email
import sys
from pathlib import Path

import pytest
from local_servers import free_port, mail_server, make_certificate

from launch.node.notices import mail
from launch.node.notices.message import Message, NoticeError

SAID = Message("demo/a: done, top-1 61.50 %", "größer\n.\nend", is_good=True)


def test_a_server_gets_it() -> None:
    long = Message("demo/" + "a" * 200, SAID.text, is_good=True)
    with mail_server() as (server, mails):
        mail.send(SAID, ("me@uni.edu", "you@uni.edu"), server, 20)
        mail.send(long, ("me@uni.edu",), server, 20)
    got, other = mails
    assert other["Subject"] == long.title
    assert (got["Subject"], got["From"], got["To"]) == (SAID.title, "me@uni.edu", "me@uni.edu, you@uni.edu")
    assert got["X-RcptTo"] == "me@uni.edu, you@uni.edu"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got.get_payload(decode=True).decode().replace("\r", "").rstrip() == SAID.text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


def with_login(home: Path, password: str = "secret", mode: int = 0o600) -> None:
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {password}\n")
    (home / ".netrc").chmod(mode)


def test_a_login_goes_encrypted_to_a_server_that_is_known(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_login(home)
    certificate = make_certificate(home / "server.pem")
    with mail_server(("me", "secret"), certificate) as (server, mails):
        with pytest.raises(NoticeError, match="CERTIFICATE_VERIFY_FAILED"):
            mail.send(SAID, ("me@uni.edu",), server, 20)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        mail.send(SAID, ("me@uni.edu",), server, 20)
        assert len(mails) == 1
        with_login(home, "wrong")
        with pytest.raises(NoticeError, match="SMTPAuthenticationError") as caught:
            mail.send(SAID, ("me@uni.edu",), server, 20)
        assert "wrong" not in str(caught.value)


def test_a_login_is_not_sent_unencrypted(home: Path) -> None:
    with_login(home)
    with mail_server() as (server, mails), pytest.raises(NoticeError, match="takes none encrypted"):
        mail.send(SAID, ("me@uni.edu",), server, 20)
    assert mails == []


def test_a_login_that_others_may_read(home: Path) -> None:
    with_login(home, mode=0o644)
    with pytest.raises(NoticeError, match=r"chmod 600 .*/\.netrc"):
        mail.send(SAID, ("me@uni.edu",), "127.0.0.1:9", 20)


def test_a_server_without_a_login_may_have_any_certificate(home: Path) -> None:
    with mail_server(None, make_certificate(home / "server.pem")) as (server, mails):
        mail.send(SAID, ("me@uni.edu",), server, 20)
    assert len(mails) == 1


@pytest.mark.usefixtures("without_a_home")
def test_without_a_home_folder_there_is_no_login() -> None:
    with mail_server() as (server, mails):
        mail.send(SAID, ("me@uni.edu",), server, 20)
    assert len(mails) == 1


def test_a_server_that_is_not_there(home: Path) -> None:
    server = f"127.0.0.1:{free_port()}"
    with pytest.raises(NoticeError, match=f"{server}: ConnectionRefusedError"):
        mail.send(SAID, ("me@uni.edu",), server, 20)


def test_sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/mail\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    mail.send(SAID, ("me@uni.edu",), None, 20)
    assert (tmp_path / "words").read_text() == "-oi -t\n"
    got = email.message_from_bytes((tmp_path / "mail").read_bytes())
    assert (got["To"], got["Subject"]) == ("me@uni.edu", SAID.title)
    program.write_text("#!/bin/sh\necho no route >&2\nexit 75\n")
    with pytest.raises(NoticeError, match="sendmail: exit code 75: no route"):
        mail.send(SAID, ("me@uni.edu",), None, 20)


def test_without_sendmail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.prefix)))
    monkeypatch.setattr(mail, "SENDMAIL_FOLDERS", ())
    with pytest.raises(NoticeError, match=r"notify\.smtp=HOST"):
        mail.send(SAID, ("me@uni.edu",), None, 20)


@pytest.mark.parametrize(
    ("server", "found"),
    [
        ("mail.uni.edu", (False, "mail.uni.edu", 25)),
        ("mail.uni.edu:587", (False, "mail.uni.edu", 587)),
        ("smtps://mail.uni.edu", (True, "mail.uni.edu", 465)),
        ("[::1]:2525", (False, "::1", 2525)),
    ],
)
def test_address(server: str, found: tuple[bool, str, int]) -> None:
    assert mail.address(server) == found


@pytest.mark.parametrize("server", ["", "http://x", "smtp://me:pw@host", "host:port", "host/x", "a\nb"])
def test_no_address(server: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (told by the caller)
        mail.address(server)
