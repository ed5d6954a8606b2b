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

    def __init__(self, folder: Path, password: str = "") -> None:
        """Begin with none; with a password it asks for that of its user `admin`."""
        self._folder, self._password = folder, password
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--host=127.0.0.1", f"--port={self._port}", "--workers=1"]
        words += ["--backend-store-uri=sqlite:///mlflow.db", "--artifacts-destination=artifacts"]
        variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        if self._password:
            words.append("--app-name=basic-auth")
            variables |= self._ask_who()
        with (self._folder / "printed").open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                cwd=self._folder,
                env={**os.environ, **variables},
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )
        wait_for(self._answers)

    def _ask_who(self) -> dict[str, str]:
        """Write who may do what, and return the variables that name it."""
        said = self._folder / "auth.ini"
        said.write_text(
            "[mlflow]\n"
            "default_permission = READ\n"
            f"database_uri = sqlite:///{self._folder}/auth.db\n"
            f"admin_username = admin\nadmin_password = {self._password}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        return {"MLFLOW_AUTH_CONFIG_PATH": str(said), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-a-test"}

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
