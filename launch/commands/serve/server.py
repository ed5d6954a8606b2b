"""The page of runs, on this machine alone, until Ctrl-C."""

from __future__ import annotations

import errno
import getpass
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from http.server import ThreadingHTTPServer

from dnw.runs.folder import Run
from launch.commands.serve.request_handler import handler
from launch.commands.serve.snapshot import Snapshots
from launch.errors import LaunchError
from shards import terminal

HOST = "127.0.0.1"  # a login node has many users, and a network around it
FIRST_PORT, TRIED = 8790, 100

SERVING = """\
Status of {runs}: http://{host}:{port}/{token}/
From another machine: ssh -L {port}:{host}:{port} {user}@{node}, then the same address there.
Whoever has the address sees the runs; nobody can change anything by it. Ctrl-C ends it."""


class Server(ThreadingHTTPServer):
    """A thread for each connection, none of which keeps the command from ending."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what went wrong in one line; a browser that went away is nothing to tell."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"a request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def show(select: Callable[[], Sequence[Run]], port: int | None) -> int:
    """Serve how runs stand, those that begin meanwhile too, until Ctrl-C.

    Args:
        select: which runs; asked at every look, so that new ones appear.
        port: where on loopback; None: 8790, or the next that is free.

    Returns:
        the exit code, 0.

    Raises:
        LaunchError: the port is taken, or may not be used; or as `select`.
    """
    terminal.unwind_when_ended()
    token = secrets.token_urlsafe(24)
    try:
        count = len(select())
        with _bound(port, token, Snapshots(select)) as server:
            print(_told(count, server.server_port, token), flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


def _bound(port: int | None, token: str, snapshots: Snapshots) -> Server:
    """Return a server at the port, or at the first that is free."""
    for tried in range(FIRST_PORT, FIRST_PORT + TRIED) if port is None else [port]:
        try:
            return Server((HOST, tried), handler(token, snapshots))
        except OSError as error:
            if port is None and error.errno == errno.EADDRINUSE:
                continue
            why = (error.strerror or str(error)).lower()
            raise LaunchError(f"port {tried}: {why}; name another with --port") from None
    raise LaunchError(f"ports {FIRST_PORT} to {tried}: all in use; name another with --port")


def _told(runs: int, port: int, token: str) -> str:
    return SERVING.format(
        runs=f"{runs} run{'s' * (runs != 1)}",
        host=HOST,
        port=port,
        token=token,
        user=getpass.getuser(),
        node=socket.gethostname(),
    )
