"""Credentials of trackers: which variables hold them, and texts without them."""

from __future__ import annotations

import io
import os
from typing import TextIO

from shards.errors import without_credentials

VARIABLES = frozenset(
    {
        *("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN"),
        *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"),
        *("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET"),
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY"),
    }
)
_SHORTEST = 4  # a value that is shorter stands in many texts by chance


def redact(text: str) -> str:
    """Return a text without the credentials that the environment holds, and without those in addresses."""
    values = (os.environ.get(name, "") for name in VARIABLES)
    for value in sorted(filter(lambda value: len(value) >= _SHORTEST, values), key=len, reverse=True):
        text = text.replace(value, "***")
    return without_credentials(text)


class Redacted(io.TextIOBase):
    """A text stream that writes to another one, line by line, without credentials."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._line = stream, ""

    def write(self, text: str) -> int:
        """Write the lines that are whole."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(redact(line) + "\n")
        self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Have whole lines written."""
        self._stream.flush()

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True
