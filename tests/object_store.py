"""Servers on loopback that hand out the files of a folder: over HTTP with faults at will, and as S3."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext
from urllib.parse import quote, unquote


class Folder:
    """A folder served over HTTP, with ranges; `faults` are taken one a request, for names that end so.

    Attributes:
        faults: end of the name, and "busy", "later", "cut", "stall", "trickle", "page", or the code of a
            refusal.
        sent_to: code and address of the folder that all is redirected to; "" for here, without end. What is
            asked for in /moved isn't redirected.
        ranges: what Accept-Ranges says; with anything but "bytes" there are none.
        query: without which nothing is handed out.
        wrong: what is wrong with ranges, if anything: "start" (all begin with the first byte), "end" (a byte
            is missing), "refused".
        headers: the names of those of each request, in small letters.
        later: when one that is told "later" is to come again.
        is_packing: gzip, for those who take it.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.faults: list[tuple[str, str]] = []
        self.asked: Counter[str] = Counter()
        self.ranges, self.query, self.is_packing, self.later = "bytes", "", False, "7"
        self.wrong = ""
        self.headers: list[set[str]] = []
        self.sent_to: tuple[int, str] | None = None
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"served": self})
        kind = _IPv6Server if ":" in host else ThreadingHTTPServer
        self.server = kind((host, 0), handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server.server_address[1]}"

    def fault(self, name: str) -> str:
        """Return what this request is to meet, if anything; it is counted."""
        with self._lock:
            self.asked[name] += 1
            if self.faults and name.endswith(self.faults[0][0]):
                return self.faults.pop(0)[1]
            return ""


class _IPv6Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Folder

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *words: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        self.served.headers.append({name.lower() for name in self.headers})
        address, _, query = self.path.lstrip("/").partition("?")
        name = unquote(address, errors="surrogateescape")
        is_moved, name = name.startswith("moved/"), name.removeprefix("moved/")
        path = self.served.folder / name
        fault = self.served.fault(path.name) if body else ""
        if self.served.sent_to is not None and not is_moved:
            code, folder = self.served.sent_to
            self._send(
                code,
                b"",
                {"Location": f"{folder}/{quote(os.fsencode(name))}", "Set-Cookie": "session=1"},
                body,
            )
            return
        if fault.isdecimal():
            self.send_error(int(fault))
            return
        if fault == "later":
            self._send(429, b"later", {"Retry-After": self.served.later}, body)
            return
        if fault == "busy" or query != self.served.query or not path.is_file():
            self.send_error(503 if fault == "busy" else 403 if query != self.served.query else 404)
            return
        data, headers = path.read_bytes(), {"Accept-Ranges": self.served.ranges}
        asked = self.headers.get("Range") if self.served.ranges == "bytes" else None
        if fault == "page":
            self._send(200, b"<html>log in</html>", {}, body)
        elif self.served.is_packing and "gzip" in self.headers.get("Accept-Encoding", ""):
            self._send(200, gzip.compress(data), {"Content-Encoding": "gzip"}, body)
        elif asked:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or len(data) - 1), len(data) - 1)
            if self.served.wrong == "refused":
                self._send(416, b"", {}, body)
                return
            if self.served.wrong == "start":
                first, last = 0, last - first
            last -= self.served.wrong == "end"
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._send(206, data[first : last + 1], headers, body, fault)
        else:
            self._send(200, data, headers, body, fault)

    def _send(self, code: int, data: bytes, headers: dict[str, str], body: bool, fault: str = "") -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if fault in {"cut", "stall", "trickle"} else data)
        if fault == "trickle":
            with suppress(OSError):  # until the other hangs up
                for byte in data[len(data) // 2 :]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
        if fault == "stall":
            self.connection.recv(1)  # until the other hangs up
        self.close_connection = self.close_connection or fault in {"cut", "stall", "trickle"}


@contextmanager
def http(folder: Path, tls: SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Folder]:
    served = Folder(folder, host)
    if tls is not None:
        served.server.socket = tls.wrap_socket(served.server.socket, server_side=True)
        served.url = served.url.replace("http:", "https:")
    thread = threading.Thread(target=served.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()
