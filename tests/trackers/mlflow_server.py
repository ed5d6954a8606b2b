"""A real MLflow server on loopback, on SQLite, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from documents import wait_for


class MlflowServer:
    """Its database and files stay in `folder`, and its port stays its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--host=127.0.0.1", f"--port={self._port}", "--workers=1"]
        words += ["--backend-store-uri=sqlite:///mlflow.db", "--artifacts-destination=artifacts"]
        with (self._folder / "printed").open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                cwd=self._folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )
        wait_for(self._answers)

    def kill(self) -> None:
        """Kill it, and all processes of it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self) -> Any:
        """Return a client of it."""
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.url)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "printed").read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
