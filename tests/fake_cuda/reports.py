"""Cases traced by one process beside the tests: the fake device must be there before torch is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from . import library


class Reports:
    """The reports of named cases, each read from the process when it is asked for."""

    def __init__(self, cases: Mapping[str, dict[str, Any]]) -> None:
        """Begin to trace; skips the test where there is no compiler."""
        try:
            library.compiled()
        except library.Missing as missing:
            pytest.skip(str(missing))
        command = [sys.executable, str(Path(__file__).parent)]
        process = subprocess.run(
            command,
            input="".join(json.dumps(case) + "\n" for case in cases.values()),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ,
        )
        lines = process.stdout.splitlines()
        self._reports = {name: json.loads(line) for name, line in zip(cases, lines, strict=True)}

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._reports[name]
