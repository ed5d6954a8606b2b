"""A server of a site before MLflow's: with a certificate that it has signed itself, and a path in front."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

PATH = "/mlflow"
KEPT = ("content-type", "www-authenticate")


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behind: ClassVar[str]  # host and port

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith(f"{PATH}/"):
            self._answer(404, {}, b"")
            return
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        dropped = {"host", "accept-encoding"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection.request(self.command, self.path.removeprefix(PATH), body, headers)
        with contextlib.closing(connection):
            answer = connection.getresponse()
            given = {name: value for name, value in answer.getheaders() if name.lower() in KEPT}
            self._answer(answer.status, given, answer.read())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def before(url: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The address of a front before a server, without its path, and its certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = type("Front", (_Front,), {"behind": urlsplit(url).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", certificate
        server.shutdown()
