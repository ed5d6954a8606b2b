"""runs.py serve as a process: what it says, whom it answers, how it ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_folder import finish, make

pytestmark = pytest.mark.xdist_group("status server")  # one worker makes what they share

ROOT = Path(__file__).resolve().parents[5]


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, str(ROOT / "launch" / "runs.py"), "serve", *words]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, "".join(process.stdout.readline() for _ in range(3))
        finally:
            process.kill()


class Client:
    """Asks a server as a browser does, or as others may."""

    def __init__(self, said: str) -> None:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/([\w-]+)/\n", said)
        assert found, said
        self.port, self.token = int(found[1]), found[2]

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, headers={"Host": f"127.0.0.1:{self.port}", **headers})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served")
    for number in range(20):
        finish(make(folder / "runs", f"default-{number:010}"))
    with serving(folder) as (_, said):
        assert said.startswith("Status of 20 runs: http://127.0.0.1:")
        assert re.search(r"ssh -L (\d+):127\.0\.0\.1:\1 \S+@\S+, then", said)
        yield Client(said)


def test_the_page_may_do_nothing_but_ask_this_server(client: Client) -> None:
    status, headers, body = client.ask(f"/{client.token}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(rb"""(?:src|href)=["']?(?!data:)\w+:|innerHTML|eval\(""", body)
    assert client.token.encode() not in body


def test_an_address_without_its_last_slash(client: Client) -> None:
    status, headers, _ = client.ask(f"/{client.token}?x=1")
    assert (status, headers["Location"]) == (308, f"/{client.token}/")


def test_rows_packed_and_not_sent_twice(client: Client) -> None:
    path = f"/{client.token}/runs.json"
    status, headers, body = client.ask(path)
    assert status == 200
    assert len(json.loads(body)["rows"]) == 20
    _, packed, small = client.ask(path, **{"Accept-Encoding": "gzip, br"})
    assert packed["Content-Encoding"] == "gzip"
    assert len(small) < len(body) / 2
    status, same, body = client.ask(path, **{"If-None-Match": headers["ETag"]})
    assert (status, body, same["ETag"]) == (304, b"", headers["ETag"])
    status, headers, body = client.ask(path, "HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/runs.json", "/x/", "/TOKE/", "/%00/runs.json"])
def test_without_the_secret_nothing_is_told(client: Client, path: str) -> None:
    path = path.replace("TOKEN", client.token).replace("TOKE", client.token[:-1])
    status, _, body = client.ask(path)
    assert status == 403
    assert client.token.encode() not in body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8790", "127.0.0.1.evil.example", ""])
def test_a_name_that_leads_here_is_no_name_of_this_machine(client: Client, host: str) -> None:
    """DNS rebinding: a page of evil.example asks evil.example, which has become 127.0.0.1."""
    assert client.ask(f"/{client.token}/runs.json", Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost:9999", "LOCALHOST", "127.0.0.1:1", "[::1]:8790"])
def test_a_tunnel_may_begin_at_another_port(client: Client, host: str) -> None:
    assert client.ask(f"/{client.token}/runs.json", Host=host)[0] == 200


@pytest.mark.parametrize("rest", ["x", "runs/", "runs/0123456789abcdef", "runs/../../etc/passwd"])
def test_there_is_nothing_else(client: Client, rest: str) -> None:
    assert client.ask(f"/{client.token}/{rest}")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(client: Client, method: str) -> None:
    assert client.ask(f"/{client.token}/runs.json", method)[0] == 501


def test_what_is_no_request_ends_no_server(client: Client) -> None:
    for said in (b"\0\xff\r\n\r\n", b"GET /", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"):
        with socket.create_connection(("127.0.0.1", client.port)) as other:
            other.sendall(said)
    assert client.ask(f"/{client.token}/")[0] == 200


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_it_ends_at_once_and_quietly(tmp_path: Path, number: int, code: int) -> None:
    make(tmp_path / "runs")
    with serving(tmp_path) as (process, said):
        client = Client(said)
        waiting = socket.create_connection(("127.0.0.1", client.port))
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        waiting.close()
    assert (process.returncode, out, err) == (code, "", "")


@pytest.mark.usefixtures("hangup")
def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    make(tmp_path / "runs")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as what nohup does
    with serving(tmp_path) as (process, said):
        client = Client(said)
        process.send_signal(signal.SIGHUP)
        assert client.ask(f"/{client.token}/")[0] == 200


def test_a_port_of_choice(tmp_path: Path) -> None:
    make(tmp_path / "runs")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, "--port", str(port)) as (process, said):
            out, err = process.communicate(timeout=120)
    refusal = f"port {port}: address already in use; name another with --port\n"
    assert (process.returncode, said, out, err) == (2, "", "", refusal)
    with serving(tmp_path, "--port", str(port)) as (_, said):
        assert Client(said).port == port
        with serving(tmp_path) as (_, other):
            assert Client(other).token != Client(said).token


def test_no_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, said):
        answer: tuple[Any, ...] = process.communicate(timeout=120)
    assert (process.returncode, said) == (2, "")
    assert "no such folder; name that of your runs with --runs-dir" in answer[1]
