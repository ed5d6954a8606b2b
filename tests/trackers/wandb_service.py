"""What `wandb sync` needs of the service of Weights & Biases, on loopback; it keeps the rows of curves."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

BUCKET = {"id": "b", "name": "run", "config": "{}", "historyLineCount": 0}
PROJECT = {"id": "p", "name": "example", "entity": {"id": "e", "name": "me"}}
ANSWER = {
    "viewer": {"id": "u", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []}},
    "serverInfo": {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "features": []},
    "upsertBucket": {"bucket": {**BUCKET, "project": PROJECT}, "inserted": True},
    "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []},
    "createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}},
}


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rows: ClassVar[list[dict[str, Any]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        if self.path.endswith("/file_stream"):
            lines = asked.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.rows.extend(map(json.loads, lines))
        answer = json.dumps({"data": ANSWER} if self.path == "/graphql" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a service, and the rows that it has got."""
    rows: list[dict[str, Any]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Service", (_Service,), {"rows": rows})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", rows
        server.shutdown()
