"""Servers on loopback that note what comes to them: HTTP, and mail with STARTTLS and a login."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Web:
    """An HTTP server, and the requests it got."""

    address: str
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)  # path, headers, body
    answer: tuple[int, str] = (200, "ok")
    location: str = ""  # where it sends others on to
    is_busy: bool = False  # for the first request


@contextmanager
def web() -> Iterator[Web]:
    """Serve HTTP until the end of the block; as a proxy, too."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, dict(self.headers), json.loads(body)))
            busy = found.is_busy and len(found.requests) == 1
            self.send_response(429 if busy else found.answer[0])
            if busy:
                self.send_header("Retry-After", "1")
            if found.location:
                self.send_header("Location", found.location)
            self.end_headers()
            self.wfile.write(found.answer[1].encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server(login: tuple[str, str] | None = None, certificate: Path | None = None) -> Iterator[Any]:
    """Take mail on loopback until the end of the block; yield its address, and the mails it got.

    Args:
        login: user and password that it wants; None: none.
        certificate: a file that `make_certificate` wrote, for STARTTLS; None: it can't encrypt.
    """
    mails: list[Message] = []

    class Keeping(MessageHandler):
        def handle_message(self, message: Message) -> None:
            mails.append(message)

    def authenticate(server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode())
        return AuthResult(success=given == login, handled=False)

    options: dict[str, Any] = {}
    if certificate is not None:
        options["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["tls_context"].load_cert_chain(certificate)
    if login is not None:
        options |= {"auth_required": True, "authenticator": authenticate}
    controller = Controller(Keeping(), "127.0.0.1", free_port(), **options)
    controller.start()
    try:
        yield f"{controller.hostname}:{controller.port}", mails
    finally:
        controller.stop()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def make_certificate(path: Path) -> Path:
    """Write a key, and a certificate of its own for 127.0.0.1, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    as_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(as_pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path
