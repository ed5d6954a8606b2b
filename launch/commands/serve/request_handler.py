"""What is answered to whom: GET alone, below a secret path, to a browser that asks for this machine by name.

On a login node every user can reach a port on loopback, and any site that a browser visits can send it there.
So the address holds a secret, and the name in it has to be that of loopback (DNS rebinding). There is no
cookie, which would be sent to servers at other ports of the same machine, too.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import re
from functools import cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import ClassVar
from urllib.parse import urlsplit

from launch.commands.serve.snapshot import Answer, Snapshots

NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})  # a tunnel may lead from another port, or family
IDLE_S = 60.0  # after which a connection that says nothing is closed
LEAST_PACKED = 1000  # bytes that are worth packing
OWN_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address is a secret
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class RequestHandler(BaseHTTPRequestHandler):
    """Answers requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "dnw", ""
    timeout = IDLE_S
    token: ClassVar[str]
    snapshots: ClassVar[Snapshots]

    def do_GET(self) -> None:
        """Answer with the page, the rows, or a run's curves."""
        host = self.headers.get("Host", "")
        if re.sub(r":\d+$", "", host).lower() not in NAMES:
            self._refuse(HTTPStatus.FORBIDDEN, "Open this page at 127.0.0.1 or localhost, through ssh -L.")
            return
        token, slash, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "Open the whole address that runs.py serve has printed.")
        elif not slash:  # which what the page asks for is relative to
            self._begin(HTTPStatus.PERMANENT_REDIRECT, b"", "text/plain", {"Location": f"/{token}/"})
        elif rest == "":
            self._send(Answer(*page()), "text/html; charset=utf-8", policy())
        elif rest == "runs.json":
            self._send(self.snapshots.runs(), "application/json")
        elif rest.startswith("runs/") and (found := self.snapshots.details(rest.removeprefix("runs/"))):
            self._send(found, "application/json")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page, or the run has been moved away.")

    do_HEAD = do_GET

    def log_message(self, form: str, *values: object) -> None:
        """Print nothing: requests hold the secret."""

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._begin(status, f"{why}\n".encode(), "text/plain; charset=utf-8", {})

    def _send(self, answer: Answer, kind: str, policy: str = "default-src 'none'") -> None:
        headers = {
            "ETag": answer.etag,
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": policy,
        }
        if self.headers.get("If-None-Match") == answer.etag:
            self._begin(HTTPStatus.NOT_MODIFIED, b"", kind, headers)
            return
        body = answer.body
        if len(body) >= LEAST_PACKED and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers = gzip.compress(body, 1), {**headers, "Content-Encoding": "gzip"}
        self._begin(HTTPStatus.OK, body, kind, {**headers, "Vary": "Accept-Encoding"})

    def _begin(self, status: HTTPStatus, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**OWN_HEADERS, **headers}.items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def handler(token: str, snapshots: Snapshots) -> type[RequestHandler]:
    """Return a class whose instances answer with these runs, to those who know the secret.

    Args:
        token: the secret.
        snapshots: of the runs.
    """
    return type("Handler", (RequestHandler,), {"token": token, "snapshots": snapshots})


@cache
def page() -> tuple[bytes, str]:
    """Return the page, and its tag."""
    text = resources.files(__package__).joinpath("page.html").read_bytes()
    return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'


@cache
def policy() -> str:
    """Return what the page may do: run its own script, have its own style, and ask this server."""
    text = page()[0].decode()
    of = partial(_hashed, text)
    return (
        f"default-src 'none'; script-src {of('script')}; style-src {of('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashed(text: str, tag: str) -> str:
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
