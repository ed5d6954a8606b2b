"""Notices by mail: to the site's mail server, or to the program that hands mail to this node's own."""

from __future__ import annotations

import contextlib
import netrc
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from email import policy
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import urlsplit

from launch.node.notices.message import Message, NoticeError, printable
from shards.files.home import in_home

SENDMAIL_FOLDERS = ("/usr/sbin", "/usr/lib")  # which no user's PATH has
SMTP, SUBMISSIONS = 25, 465  # ports
# A name without spaces is else put below an empty first line, which not every program reads as a subject.
ON_ONE_LINE = policy.default.clone(max_line_length=990)  # RFC 5322 allows 998


def sendmail() -> str | None:
    """Return the program that takes mail here; most nodes have none."""
    return shutil.which("sendmail") or shutil.which("sendmail", path=":".join(SENDMAIL_FOLDERS))


def send(message: Message, recipients: Sequence[str], server: str | None, timeout_s: float) -> None:
    """Send a mail, from the first of those who get it: a site's server takes its own people's.

    Args:
        message: what it says.
        recipients: their addresses, at least one.
        server: HOST, HOST:PORT, or smtps://HOST; None: this node's own sendmail.
        timeout_s: for each answer.

    Raises:
        NoticeError: it wasn't taken.
    """
    mail = EmailMessage(ON_ONE_LINE)
    mail["Subject"] = message.title
    mail["From"] = recipients[0]
    mail["To"] = ", ".join(recipients)
    mail["Date"] = formatdate()
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    mail.set_content(message.text)
    if server is None:
        _by_sendmail(mail, timeout_s)
    else:
        _by_server(mail, server, timeout_s)


def _by_sendmail(mail: EmailMessage, timeout_s: float) -> None:
    program = sendmail()
    if program is None:
        raise NoticeError("no sendmail on this node; name your site's mail server: notify.smtp=HOST")
    try:
        done = subprocess.run(
            [program, "-oi", "-t"], input=mail.as_bytes(), capture_output=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoticeError(f"{program}: {type(error).__name__}") from None
    if done.returncode:
        said = " ".join(printable((done.stdout + done.stderr).decode(errors="replace")).split())[:200]
        raise NoticeError(f"{program}: exit code {done.returncode}{f': {said}' if said else ''}")


def _by_server(mail: EmailMessage, server: str, timeout_s: float) -> None:
    try:
        with _connected(server, timeout_s) as client:
            client.send_message(mail)
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        said = " ".join(printable(str(error)).split())[:200]
        raise NoticeError(f"{server}: {type(error).__name__}: {said}") from None


@contextlib.contextmanager
def _connected(server: str, timeout_s: float) -> Iterator[smtplib.SMTP]:
    """Connect to a mail server, encrypted if it can, and log in if ~/.netrc has a login for it."""
    is_tls, host, port = address(server)
    login = _login(host)
    context = ssl.create_default_context()
    if login is None and not is_tls:  # as mail servers do among each other: better than nothing
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if is_tls:
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout_s, context=context)
    else:
        client = smtplib.SMTP(host, port, timeout=timeout_s)
    with client:
        client.ehlo()
        if not is_tls and client.has_extn("starttls"):
            client.starttls(context=context)
            client.ehlo()
        elif not is_tls and login is not None:
            raise NoticeError(f"{server}: ~/.netrc has a login for it, and it takes none encrypted")
        if login is not None:
            client.login(*login)
        yield client


def address(server: str) -> tuple[bool, str, int]:
    """Return whether a mail server is spoken to in TLS from the first byte, its name and its port.

    Raises:
        ValueError: that names no server.
    """
    parts = urlsplit(server if "://" in server else f"smtp://{server}")
    is_right = parts.scheme in {"smtp", "smtps"} and parts.hostname and not parts.path.strip("/")
    if not is_right or "@" in parts.netloc or parts.query or parts.fragment or not server.isprintable():
        raise ValueError(server)
    is_tls = parts.scheme == "smtps"
    return is_tls, str(parts.hostname), parts.port or (SUBMISSIONS if is_tls else SMTP)


def _login(host: str) -> tuple[str, str] | None:
    """Return user and password for a server, where ~/.netrc has them; others must not be able to read it."""
    path = in_home(".netrc")
    if path is None:
        return None
    try:
        found = netrc.netrc(path).hosts.get(host)
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError:
        raise NoticeError(f"{path}: not understood") from None
    if found is None:
        return None
    if path.stat().st_mode & 0o077:
        raise NoticeError(f"{path}: others may read it; chmod 600 {path}")
    return found[0], found[2] or ""
