"""Servers on loopback that hand out the files of a folder: over HTTP with faults at will, and as S3."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Folder:
    """A folder served over HTTP, with ranges; `faults` are taken one a request, for names that end so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[tuple[str, str]] = []  # (end of the name, "busy" or "cut")
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def log_message(self, format: str, *words: object) -> None:
                pass

            def _answer(self, body: bool) -> None:
                path = outer.folder / self.path.lstrip("/")
                fault = outer._fault(path.name) if body else ""
                if not path.is_file() or fault == "busy":
                    self.send_error(404 if fault != "busy" else 503)
                    return
                data = path.read_bytes()
                asked = self.headers.get("Range")
                first, last = 0, len(data) - 1
                if asked:
                    start, _, end = asked.removeprefix("bytes=").partition("-")
                    first, last = int(start), min(int(end or last), last)
                part = data[first : last + 1]
                self.send_response(206 if asked else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                if fault == "cut":
                    self.wfile.write(part[: len(part) // 2])
                    self.close_connection = True
                elif body:
                    self.wfile.write(part)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def _fault(self, name: str) -> str:
        with self._lock:
            self.asked[name] += 1
            if self.faults and name.endswith(self.faults[0][0]):
                return self.faults.pop(0)[1]
            return ""


@contextmanager
def http(folder: Path) -> Iterator[Folder]:
    served = Folder(folder)
    thread = threading.Thread(target=served.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()
