"""What every tracker can do, and what it is called."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from dnw.tracking.credentials import redact
from dnw.tracking.facts import Facts
from dnw.tracking.pictures import Picture
from dnw.tracking.rows import Row
from shards.errors import ExpectedError

NAMES = ("mlflow", "wandb")  # TensorBoard's files are written with the run
PACKAGES = {"mlflow": "mlflow-skinny", "wandb": "wandb"}


_MOST = 400  # characters of what a library says
_HELPS = {  # by what a tracker's client says
    "mlflow": {
        "failed with error code 401": "no credentials are known here, or these don't hold (any more): export "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or write "
        "~/.mlflow/credentials",
        "failed with error code 403": "this user may not do that there: have it allowed, or name another "
        "experiment, MLFLOW_EXPERIMENT_NAME=NAME",
        "failed with error code 404": "no MLflow is at this address: a path behind the port belongs to "
        "MLFLOW_TRACKING_URI, too, as in http://HOST:5000/mlflow",
        "CERTIFICATE_VERIFY_FAILED": "its certificate isn't known here: export "
        "MLFLOW_TRACKING_SERVER_CERT_PATH=FILE.pem, or MLFLOW_TRACKING_INSECURE_TLS=true, which trusts any",
        "failed with exception HTTP": "no server answers there: see whether it runs, whether "
        "MLFLOW_TRACKING_URI names it, and whether this machine has a way to it",
    },
    "wandb": {
        "error 401": "this key doesn't hold there (any more): wandb login --relogin, or export WANDB_API_KEY",
        "error 403": "this user may not do that there: name another project, WANDB_PROJECT=NAME, or team, "
        "WANDB_ENTITY=NAME",
        "dial tcp": "there is no way to the service from this machine: WANDB_MODE=offline keeps all for "
        "later; WANDB_BASE_URL names a server of your site",
    },
}


class TrackerError(ExpectedError):
    """A tracker that can't be reached, or refuses; the message has no credentials in it."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class Tracker(Protocol):
    """One run at one tracker. Sending the same again changes nothing there."""

    def begin(self, facts: Facts) -> None:
        """Find the run there, or make it, and ask what of it is there.

        Raises:
            TrackerError: that can't be done now.
        """

    def send(self, facts: Facts, rows: Sequence[Row], pictures: Sequence[Picture] = ()) -> int:
        """Send what isn't there, files last; the number of rows that were sent.

        Raises:
            TrackerError: that can't be done now; then nobody knows how much of it was.
        """

    def end(self, facts: Facts) -> None:
        """Let go of the run there: for now, or for good if it is over.

        Raises:
            TrackerError: that can't be done now.
        """

    @property
    def address(self) -> str:
        """Where people look at the run, without credentials."""

    @property
    def unsent(self) -> str:
        """Which files could not be sent, and why, for people; empty if all were. `send` tries them again."""


@contextlib.contextmanager
def in_one_line(name: str) -> Iterator[None]:
    """Make one line of whatever calls of a tracker's library raise.

    They raise what those of its stores and connections do, which are no OSError and have no class in common:
    botocore's NoCredentialsError, an ImportError where the store's library is missing.

    Raises:
        TrackerError: with the name of what was raised.
    """
    try:
        yield
    except TrackerError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        helps = next((f"; {helps}" for words, helps in _HELPS[name].items() if words in said), "")
        raise TrackerError(f"{name}: {type(error).__name__}: {said[:_MOST]}{helps}") from None


def remedy(name: str) -> str:
    """Return what installs a tracker's library into the environment that runs this."""
    return f"{sys.executable} -m pip install {PACKAGES[name]}"
