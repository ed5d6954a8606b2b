"""Trackers beside a run: a process for each feeds it from the run folder, and the run goes on without it.

The first node's launcher starts them. They run where it does, outside a container, with its interpreter; what
they print goes to a file of their own.
"""

from __future__ import annotations

import importlib.util
import netrc
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import dnw
from dnw import config
from dnw.config import Train
from dnw.invocation import RUNS
from dnw.runs.folder import Run
from dnw.tracking import problems, tracker
from dnw.tracking.credentials import VARIABLES as CREDENTIALS
from launch.errors import LaunchError
from launch.node.notices import secret

DONE_S, STOPPED_S = 30.0, 5.0  # that trackers get to take the rest in, once the job has ended
MLFLOW_URI, WANDB_MODE = "MLFLOW_TRACKING_URI", "WANDB_MODE"
FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"
_WANDB = "https://api.wandb.ai"


class Followers:
    """The processes that feed trackers while a job works on a run."""

    def __init__(self, run: Run, variables: Mapping[str, str]) -> None:
        """Begin with none; `variables` are those that the user has set for the run."""
        self._run, self._variables = run, variables
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._logged: dict[str, int] = {}  # bytes of a log when a process was started

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start one for each tracker that the run names; one that can't be started costs a line."""
        for name in followed(config.load(self._run.config)):
            try:
                self._started[name] = self._start(name)
            except OSError as error:
                print(
                    f"{self._run.name}: {name}: {error}; the run goes on without", file=sys.stderr, flush=True
                )

    def __exit__(self, *_: object) -> None:
        """Have them send what is left, for as long as that may take, then end them."""
        deadline = time.monotonic() + (DONE_S if self._run.result.exists() else STOPPED_S)
        for process in self._started.values():
            assert process.stdin is not None
            process.stdin.close()
        for name, process in self._started.items():
            try:
                code = process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
            if code:
                self._tell(name, self._why(name))

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        self._run.tracking.mkdir(exist_ok=True)
        variables = {**os.environ, **self._variables}
        code = str(Path(dnw.__file__).parents[1])  # this process's own, from a zip file perhaps
        others = [
            path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path not in {"", code}
        ]
        path = os.pathsep.join([code, *others])  # where the trackers' libraries lie, perhaps
        with log(self._run, name).open("ab") as output:
            self._logged[name] = output.tell()
            return subprocess.Popen(
                [sys.executable, "-m", "dnw.tracking", str(self._run.folder), name],
                env=variables | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
                stdin=subprocess.PIPE,  # its end is that of the job
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _why(self, name: str) -> str:
        """Return what keeps a process from sending, as it has told; or that nothing was told in time."""
        with log(self._run, name).open("rb") as file:
            file.seek(self._logged[name])
            found = problems.last(file.read().decode(errors="replace"))
        return found.removeprefix(f"{name}: ") or "no answer, or a slow one, when the job ended"

    def _tell(self, name: str, why: str) -> None:
        sent = f"{RUNS} track {shlex.quote(str(self._run.folder))} --to {name}"
        print(
            f"{self._run.name}: {name}: not all is sent: {why} ({log(self._run, name)}); later: {sent}",
            file=sys.stderr,
            flush=True,
        )


def followed(train: Train) -> list[str]:
    """Return the trackers of a run that have a process of their own."""
    return [name for name in train.track if name in tracker.NAMES]


def log(run: Run, name: str) -> Path:
    """Return the file that the process of a tracker prints to."""
    return run.tracking / f"{name}.log"


def check_variables(variables: Mapping[str, str]) -> None:
    """Refuse credentials among the variables that the user has set for the run, which stand in its files.

    Raises:
        LaunchError: one is, or holds, a credential of a tracker or of what tells how the run ended.
    """
    if found := sorted((CREDENTIALS | set(secret.VARIABLES.values())) & variables.keys()):
        raise LaunchError(
            f"environment: {found[0]} is a credential, which would be written to files: export it instead"
        )
    if urlsplit(variables.get(MLFLOW_URI, "")).password is not None:
        raise LaunchError(
            f"environment: {MLFLOW_URI} holds a password, which would be written to files: export it instead"
        )


def check_words(settings: Mapping[str, Any]) -> None:
    """Refuse credentials in what Slurm, srun, a container or the shell before it is told.

    Args:
        settings: of the cluster.

    Raises:
        LaunchError: one is there, and would stand in the job's script, and in lists of processes.
    """
    names = CREDENTIALS | set(secret.VARIABLES.values())
    for key, value in settings.items():
        found = re.search(rf"\b({'|'.join(sorted(names))})=(?!['\"]?\$)\S", str(value))
        if found is not None:
            raise LaunchError(
                f"cluster.{key}: {found[1]} is a credential, which would be written to files: export it "
                "instead"
            )


def check(train: Train, variables: Mapping[str, str]) -> list[str]:
    """Refuse trackers that this environment can't feed; what else to say of them.

    Args:
        train: the configuration.
        variables: that the user has set for the run.

    Raises:
        LaunchError: one isn't installed, nothing says where its server is, or it would send nothing.
    """
    names = followed(train)
    check_installed(names)
    environment = {**os.environ, **variables}
    notes = []
    if "mlflow" in names and (note := _of_mlflow(environment)):
        notes.append(note)
    if "wandb" in names and (note := _of_wandb(environment)):
        notes.append(note)
    return notes


def _of_mlflow(environment: Mapping[str, str]) -> str:
    """Refuse an address at which nothing is found; what to say of one that depends on the folder."""
    uri = environment.get(MLFLOW_URI, "")
    if not uri:
        raise LaunchError(
            f"track: mlflow: {MLFLOW_URI} isn't set, so nobody knows where the server is: "
            f"export {MLFLOW_URI}=http://HOST:5000"
        )
    is_folder = uri.startswith(("file:", "/", ".")) or not re.match(r"[a-z0-9+]+:|databricks|uc", uri)
    if is_folder and environment.get(FILE_STORE, "").lower() not in {"true", "1"}:
        raise LaunchError(
            f"track: mlflow: {MLFLOW_URI} is a folder, which MLflow takes no more: name a server, or a "
            f"database, {MLFLOW_URI}=sqlite:///{Path.cwd() / 'mlflow.db'}; or export {FILE_STORE}=true"
        )
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return (
            f"track: mlflow: {uri} is a database in whichever folder a command is typed in; "
            "with four slashes it is the same one everywhere"
        )
    return ""


def _of_wandb(environment: Mapping[str, str]) -> str:
    """Refuse to send nothing; what to say where no key is known."""
    mode = environment.get(WANDB_MODE, "online")
    if mode == "disabled":
        raise LaunchError(
            f"track: wandb: with {WANDB_MODE}=disabled nothing is sent: unset it, or leave wandb out"
        )
    if mode == "online" and not _knows_wandb(environment):
        return "track: wandb: no key is known here: wandb login; or export WANDB_MODE=offline, for later"
    return ""


def check_installed(names: Sequence[str]) -> None:
    """Refuse trackers whose libraries aren't here.

    Raises:
        LaunchError: with the command that installs one.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise LaunchError(f"track: {name} is not installed in this environment: {tracker.remedy(name)}")


def _knows_wandb(environment: Mapping[str, str]) -> bool:
    """Whether there is a key, where wandb looks for one."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL", _WANDB)).hostname or ""
    path = os.path.expanduser(environment.get("NETRC", "~/.netrc"))  # noqa: PTH111  (pathlib's raises)
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
