"""A run on an MLflow server, which is asked what it has: what is sent again changes nothing there.

The run is found by a tag that holds the run folder's identity. MLflow appends each value that it is sent, so
the steps that it has of each metric are asked for first, and again after every failure.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # of a request that may have been followed
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # seconds
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import Image
from urllib3.exceptions import InsecureRequestWarning

from dnw.runs.ledger import Attempt
from dnw.tracking.facts import Facts, State, attempts_table
from dnw.tracking.files import Files
from dnw.tracking.pictures import Picture
from dnw.tracking.rows import Row
from dnw.tracking.tracker import TrackerError, in_one_line
from shards.errors import without_credentials

URI = "MLFLOW_TRACKING_URI"
METRICS, PARAMS, TAGS = 1000, 100, 100  # of one request at most, as the server has it
LONGEST_PARAM, LONGEST_TAG = 500, 5000  # characters that servers of any version take
IDENTITY, SWEEP = "dnw.run", "dnw.sweep"
# of an image that log_image has sent
SHOWN = re.compile(r"images/(?P<name>.+)[+%]step[+%](?P<step>\d+)[+%]timestamp[+%].*\.png$")
STATUS = {
    "running": "RUNNING",
    "interrupted": "SCHEDULED",
    "stopped": "KILLED",
    "failed": "FAILED",
    "finished": "FINISHED",
}


class MlflowTracker:
    """One run there."""

    def __init__(self) -> None:
        if not os.environ.get(URI):
            raise TrackerError(f"mlflow: {URI} is not set: export it, as http://HOST:5000")
        # with MLFLOW_TRACKING_INSECURE_TLS each request would be two lines of the log
        warnings.simplefilter("ignore", InsecureRequestWarning)
        self._client = MlflowClient()
        self._run_id = self._experiment = ""
        self._there: dict[str, set[int]] = {}  # steps, by metric
        self._told: dict[str, str] = {}  # tags that this process has sent
        self._files = Files()
        self._pictures: list[Picture] = []  # that aren't there yet
        self._shown: set[tuple[str, int]] | None = None  # pictures that are, by name and step; None: unknown

    @property
    def address(self) -> str:
        """Where people look at the run."""
        uri = without_credentials(os.environ[URI]).rstrip("/")
        if not uri.startswith("http"):
            return f"{uri} (run {self._run_id})"
        return f"{uri}/#/experiments/{self._experiment}/runs/{self._run_id}"

    @property
    def unsent(self) -> str:
        """Which files could not be sent, and why."""
        return self._files.unsent

    def begin(self, facts: Facts) -> None:
        """Find the run, or make it, and ask which steps of which metrics are there."""
        with in_one_line("mlflow"):
            self._experiment = self._find_experiment(facts)
            parent = self._find_sweep(facts.sweep) if facts.sweep else None
            tags = {IDENTITY: facts.id, **({"mlflow.parentRunId": parent} if parent else {})}
            self._run_id = self._find_own(facts, tags)
            run = self._client.get_run(self._run_id)
            self._there = {
                key: {metric.step for metric in self._client.get_metric_history(self._run_id, key)}
                for key in run.data.metrics
            }
            self._told = {}
            settings = {_named(name): value for name, value in facts.settings.items()}
            # MLflow refuses another value of what it has: the first one stays, config.yaml has the newest
            self._send_settings({name: settings[name] for name in settings.keys() - run.data.params.keys()})

    def send(self, facts: Facts, rows: Sequence[Row], pictures: Sequence[Picture] = ()) -> int:
        """Send values that aren't there, then what has changed of the rest; as `Tracker.send`."""
        new = [row for row in rows if any(row.step not in self._steps(name) for name in row.values)]
        metrics = [
            Metric(name, value, round(row.time * 1000), row.step)
            for row in new
            for name, value in row.values.items()
            if row.step not in self._steps(name)
        ]
        tags = {name: value[:LONGEST_TAG] for name, value in _tags(facts).items() if value}
        with in_one_line("mlflow"):
            for batch in _batches(metrics, METRICS):
                self._client.log_batch(self._run_id, metrics=batch)
                for metric in batch:
                    self._there.setdefault(metric.key, set()).add(metric.step)
            self._send_tags(tags, facts.state)
        self._send_files(facts)
        self._send_pictures(pictures)
        return len(new)

    def end(self, facts: Facts) -> None:
        """Nothing is held open: the state is a tag and a status, which `send` has sent."""

    def _steps(self, metric: str) -> set[int]:
        return self._there.get(metric, set())

    def _find_experiment(self, facts: Facts) -> str:
        if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return number
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or facts.exp
        if (found := self._client.get_experiment_by_name(name)) is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another run was faster
                if (found := self._client.get_experiment_by_name(name)) is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackerError(
                f"mlflow: experiment {name} is deleted there; restore it, or set MLFLOW_EXPERIMENT_NAME"
            )
        return str(found.experiment_id)

    def _find_own(self, facts: Facts, tags: Mapping[str, str]) -> str:
        """Return the run, unless somebody has deleted it there: then nothing brings it back but they."""
        deleted = self._find(IDENTITY, facts.id, ViewType.DELETED_ONLY)
        if deleted and not self._find(IDENTITY, facts.id):
            raise TrackerError(
                f"mlflow: the run {facts.name} was deleted there; mlflow runs restore --run-id {deleted[0]} "
                f"has it go on, rm {facts.run.tracking / 'id.json'} begins another one"
            )
        return self._find_or_make(IDENTITY, facts.id, facts.name, tags)

    def _find_sweep(self, name: str) -> str:
        """Return the run that those of a sweep stand below."""
        return self._find_or_make(SWEEP, name, name, {SWEEP: name})

    def _find_or_make(self, tag: str, value: str, name: str, tags: Mapping[str, str]) -> str:
        """Return the run with a tag. Of two that were made at one moment, the older one stays."""
        if there := self._find(tag, value):
            return there[0]
        made = self._client.create_run(
            self._experiment,
            tags={"mlflow.user": _user(), "mlflow.source.type": "JOB", **tags},
            run_name=name,
        )
        first = self._find(tag, value)[0]
        if first != made.info.run_id:
            self._client.delete_run(made.info.run_id)
        return first

    def _find(self, tag: str, value: str, among: int = ViewType.ACTIVE_ONLY) -> list[str]:
        where, oldest_first = f"tags.`{tag}` = '{value}'", ["attributes.start_time ASC"]
        found = self._client.search_runs([self._experiment], where, among, order_by=oldest_first)
        return [
            run.info.run_id for run in sorted(found, key=lambda one: (one.info.start_time, one.info.run_id))
        ]

    def _send_settings(self, settings: Mapping[str, Any]) -> None:
        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in settings.items()]
        for batch in _batches(params, PARAMS):
            self._client.log_batch(self._run_id, params=batch)

    def _send_tags(self, tags: Mapping[str, str], state: State) -> None:
        changed = [RunTag(name, value) for name, value in tags.items() if self._told.get(name) != value]
        for batch in _batches(changed, TAGS):
            self._client.log_batch(self._run_id, tags=batch)
        if self._told.get("status") != state:
            if state == "finished":
                self._client.set_terminated(self._run_id, STATUS[state])
            else:
                self._client.update_run(self._run_id, STATUS[state])
        self._told |= {**tags, "status": state}

    def _send_files(self, facts: Facts) -> None:
        """Send files whose content is another one than when they were sent last."""
        run, log = facts.run, self._client.log_artifact
        files = {"attempts.jsonl": run.attempts, "result.json": run.result}
        for name, path in (files | {f"pictures/{one.name}": one for one in facts.pictures.values()}).items():
            if path.exists():
                folder = str(Path(name).parent)
                where = None if folder == "." else folder
                self._send_file(
                    name, path.read_bytes(), functools.partial(log, self._run_id, str(path), where)
                )
        text = facts.configuration
        self._send_file(
            "config.yaml",
            text.encode(),
            functools.partial(self._client.log_text, self._run_id, text, "config.yaml"),
        )

    def _send_pictures(self, new: Sequence[Picture]) -> None:
        """Send pictures that aren't there, up to the first one that can't be sent."""
        self._pictures += new
        while self._pictures:
            one = self._pictures[0]
            if not self._files.send("pictures", (one.name, one.step), functools.partial(self._show, one)):
                return
            del self._pictures[0]

    def _show(self, one: Picture) -> None:
        """Send a picture, unless it is there."""
        with in_one_line("mlflow"):
            if self._shown is None:
                files = self._client.list_artifacts(self._run_id, "images")
                there = filter(None, (SHOWN.match(file.path) for file in files))
                self._shown = {(found["name"], int(found["step"])) for found in there}
            name = _named(one.name)
            place = name.replace("/", "~"), one.step
            if place in self._shown:
                return
            shown, self._shown = self._shown, None  # unless all goes well
            with Image.open(io.BytesIO(one.png)) as image:
                image.load()
                at = round(one.time * 1000)
                self._client.log_image(self._run_id, image, key=name, step=one.step, timestamp=at)
            self._shown = shown | {place}

    def _send_file(self, name: str, content: bytes, act: Callable[[], object]) -> None:
        def send() -> None:
            with in_one_line("mlflow"):
                act()

        self._files.send(name, hashlib.sha256(content).hexdigest(), send)


def _tags(facts: Facts) -> dict[str, str]:
    code = facts.code
    others = "; ".join(f"{one['digest']} from attempt {one['attempt']}" for one in facts.code_changes)
    return {
        "mlflow.source.name": facts.exp,
        "mlflow.source.git.commit": str(code.get("commit") or ""),
        "mlflow.note.content": _note(facts.attempts),
        "dnw.name": facts.name,
        "dnw.folder": str(facts.run.folder),
        "dnw.state": facts.state,
        "dnw.attempts": str(len(facts.attempts)),
        "dnw.causes": facts.causes,
        "dnw.code.digest": str(code.get("digest") or ""),
        "dnw.code.uncommitted": str(bool(code.get("dirty"))).lower() if code else "",
        "dnw.code.changes": others,
        **{f"dnw.checkpoint.{name}": str(path) for name, path in facts.checkpoints.items()},
    }


def _named(name: str) -> str:
    """Return a name as MLflow takes them; those of a user's own settings may have any characters."""
    return re.sub(r"[^\w.\- /]", "_", name, flags=re.ASCII)


def _note(attempts: Sequence[Attempt]) -> str:
    """Return a description as short as a tag has to be: the newest attempts."""
    shown = list(attempts)
    while len(text := attempts_table(shown)) > LONGEST_TAG and shown:
        shown = shown[1:]
    return text


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):  # an id without a name, in a container
        return getpass.getuser()
    return str(os.getuid())


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(items), size):
        yield list(items[first : first + size])
