"""A run at Weights & Biases, under the run folder's identity.

Each row bears its kind and step, by which the service is asked which of them it has. Offline, a folder in the
run's own is written, whole, anew each time: metrics.jsonl has all that stood in the one before.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shards.files.folder_entries import matching

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # how long its calls take, and what they raise

import wandb
from PIL import Image

from dnw.tracking.facts import Facts, attempt_row, attempts_table
from dnw.tracking.files import Files
from dnw.tracking.pictures import Picture
from dnw.tracking.rows import Row
from dnw.tracking.tracker import TrackerError, in_one_line
from shards.errors import without_credentials

MODE, OFFLINE = "WANDB_MODE", frozenset({"offline", "dryrun"})
STEP, KIND = "step", "kind"  # columns of a row
COLUMNS: list[str | int] = ["attempt", "job", "nodes", "from step", "to step", "ended"]
DATA = "WANDB_DATA_DIR"
USERS_DATA = os.environ.get(DATA)
INIT_S = 60.0  # to reach the service in


class WandbTracker:
    """One run there."""

    def __init__(self) -> None:
        if (mode := os.environ.get(MODE, "online")) == "disabled":
            raise TrackerError(f"wandb: {MODE}=disabled, so nothing is sent; unset it")
        self._is_offline = mode in OFFLINE
        self._run: Any = None
        self._there: set[tuple[str, int]] = set()  # kind and step
        self._told: Any = None  # attempts and state that this process has sent
        self._files = Files()
        self._scratch = tempfile.TemporaryDirectory(prefix="dnw-wandb-")

    @property
    def address(self) -> str:
        """Where people look at the run; offline, the folder to sync."""
        if self._is_offline:
            return str(self._run.settings.sync_dir)
        return without_credentials(str(self._run.url))

    @property
    def unsent(self) -> str:
        """Which pictures and references could not be sent, and why."""
        return self._files.unsent

    def begin(self, facts: Facts) -> None:
        """Find the run, or make it, and ask which rows are there."""
        folder = facts.run.tracking if self._is_offline else Path(self._scratch.name)
        data = folder / "wandb" / "data"  # of tables, sent later perhaps; by default in the home
        if self._is_offline:
            wandb.teardown()  # what a failure has left may still write there
            for before in (
                *matching(data.parent, f"offline-run-*-{facts.id}"),
                *matching(data.parent, data.name),
            ):
                shutil.rmtree(before)
        os.environ[DATA] = USERS_DATA or str(data)
        with in_one_line("wandb"):
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or facts.exp,
                id=facts.id,
                name=facts.name,
                group=facts.sweep,
                job_type="train",
                config=_nested(facts),
                resume=None if self._is_offline else "allow",
                dir=str(folder),
                settings=_settings(facts, self._is_offline),
            )
            self._there = set() if self._is_offline else self._rows_there()
            self._told, self._files = None, Files()
            self._run.define_metric(STEP, hidden=True)
            self._run.define_metric("*", step_metric=STEP)

    def send(self, facts: Facts, rows: Sequence[Row], pictures: Sequence[Picture] = ()) -> int:
        """Send rows that aren't there, then what has changed of the rest; as `Tracker.send`."""
        new = [row for row in rows if (row.kind, row.step) not in self._there]
        with in_one_line("wandb"):
            for row in new:
                self._run.log({**row.values, STEP: row.step, KIND: row.kind})
                self._there.add((row.kind, row.step))
            for one in (one for one in pictures if (one.name, one.step) not in self._there):
                with Image.open(io.BytesIO(one.png)) as image:
                    self._run.log({one.name: wandb.Image(image), STEP: one.step, KIND: one.name})
                self._there.add((one.name, one.step))
        self._send_summary(facts)
        self._send_pictures(facts)
        self._send_checkpoints(facts)
        return len(new)

    def end(self, facts: Facts) -> None:
        """Have all of it written, or sent."""
        with in_one_line("wandb"):
            self._run.finish(exit_code=1 if facts.state == "failed" else 0)
            wandb.teardown()  # its process closes the run's files after `finish` has returned
        self._scratch.cleanup()

    def _rows_there(self) -> set[tuple[str, int]]:
        """Ask the service which rows it has."""
        if not self._run.resumed:
            return set()
        run = wandb.Api().run(self._run.path)
        return {(str(row[KIND]), int(row[STEP])) for row in run.scan_history(keys=[KIND, STEP])}

    def _send_summary(self, facts: Facts) -> None:
        if self._told == (facts.attempts, facts.state):
            return
        attempts = [list(attempt_row(one)) for one in facts.attempts]
        with in_one_line("wandb"):
            self._run.summary.update(
                {"attempts": wandb.Table(columns=COLUMNS, data=attempts)}
                | {"causes": facts.causes, "state": facts.state, "folder": str(facts.run.folder)}
                | {f"code/{name}": value for name, value in facts.code.items()}
                | {f"checkpoint/{name}": str(path) for name, path in facts.checkpoints.items()}
            )
        self._told = (facts.attempts, facts.state)

    def _send_pictures(self, facts: Facts) -> None:
        def send() -> None:
            with in_one_line("wandb"):
                self._run.summary[name] = wandb.Image(str(path))

        for name, path in ((f"pictures/{name}", path) for name, path in facts.pictures.items()):
            self._files.send(name, path.stat().st_mtime_ns, send)

    def _send_checkpoints(self, facts: Facts) -> None:
        """Name the checkpoints of a run that is over as what it has made; their bytes stay where they are."""

        def send() -> None:
            with in_one_line("wandb"):
                made = wandb.Artifact(f"checkpoints-{facts.id}", type="model")
                for path in facts.checkpoints.values():
                    made.add_reference(path.resolve().as_uri(), name=path.name, checksum=False)
                self._run.log_artifact(made)

        if facts.state == "finished":
            self._files.send("checkpoints", dict(facts.checkpoints), send)


def _settings(facts: Facts, is_offline: bool) -> Any:
    """Return the library's settings: by itself it collects nothing, neither words typed nor variables."""
    return wandb.Settings(
        mode="offline" if is_offline else "online",
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        reinit="finish_previous",  # what a failure has left
        git_commit=facts.code.get("commit"),
        run_notes=attempts_table(facts.attempts),
        init_timeout=INIT_S,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )


def _nested(facts: Facts) -> dict[str, Any]:
    """Return the settings, nested as in the configuration."""
    nested: dict[str, Any] = {}
    for name, value in facts.settings.items():
        *groups, last = name.split(".")
        inside = nested
        for group in groups:
            inside = inside.setdefault(group, {})
        inside[last] = value
    return nested
