"""What a tracker is told of a run beside its curves, all of it read from the run folder."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dnw.config import dump_for_people, load, plain
from dnw.identity import NOT_IDENTITY
from dnw.runs import frozen_code, ledger
from dnw.runs.folder import Run, step_path, steps
from dnw.runs.ledger import Attempt
from dnw.tracking import sweep
from shards.atomic import replacing
from shards.files.regular_file import read_bytes

# interrupted: by the cluster, which starts it again. stopped: by the user.
State = Literal["running", "interrupted", "stopped", "failed", "finished"]
Setting = bool | int | float | str | None
_STARTED_AGAIN = frozenset({"preempted", "timeout", "requeued", "node failure"})
_MOST_ROWS = 50  # attempts in a table


@dataclass(frozen=True)
class Facts:
    """A run, whole, as it stands now."""

    id: str  # of this run folder, wherever it is sent from
    run: Run
    exp: str
    sweep: str | None
    settings: Mapping[str, Setting]
    configuration: str  # YAML, without credentials
    code: Mapping[str, Any]  # commit, dirty, digest; empty where it is gone
    code_changes: Sequence[Mapping[str, Any]]
    attempts: Sequence[Attempt]
    state: State
    checkpoints: Mapping[str, Path]  # last, best
    pictures: Mapping[str, Path]

    @property
    def name(self) -> str:
        """How people call the run."""
        return self.run.name

    @property
    def causes(self) -> str:
        """Why each attempt ended: `1 preempted, 2 done`."""
        return ", ".join(f"{one.number} {one.cause or 'under way'}" for one in self.attempts[-_MOST_ROWS:])


def read_facts(run: Run) -> Facts:
    """Read what there is to tell of a run.

    Raises:
        dnw.config.ConfigError: its configuration is damaged.
        OSError: the folder can't be read, or its identity not be written.
    """
    train = load(run.config)
    attempts = ledger.read(run)
    return Facts(
        id=stable_id(run),
        run=run,
        exp=train.exp,
        sweep=sweep.read(run),
        settings=dict(settings(plain(train))),
        configuration=dump_for_people(train),
        code={
            name: value
            for name, value in frozen_code.read_record(run.code).items()
            if name in {"commit", "dirty", "digest"}
        },
        code_changes=ledger.code_changes(run),
        attempts=attempts,
        state=_state(run, attempts),
        checkpoints=dict(_checkpoints(run)),
        pictures={"wiring": run.wiring} if run.wiring.exists() else {},
    )


def stable_id(run: Run) -> str:
    """Return what names this run folder among all; made when it is first asked for, then kept in it."""
    path = run.tracking / "id.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        made = f"{run.folder.name.rsplit('-', 1)[-1]}-{secrets.token_hex(4)}"
        own = path.with_name(f"{made}.tmp")
        with replacing(own) as file:
            file.write((json.dumps({"id": made}) + "\n").encode())
        try:
            os.link(own, path)  # of two that ask at one moment, the first one's stays
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            own.replace(path)
        own.unlink(missing_ok=True)
    return str(json.loads(read_bytes(path))["id"])


def settings(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield what changes the result and is a single value: `optim.lr`, 0.1; None where it isn't set.

    Args:
        values: of a configuration, nested.
        prefix: of the names.
    """
    for key, value in values.items():
        name = prefix + key
        if name in NOT_IDENTITY or name == "version" or name.endswith("fingerprint"):
            continue
        if isinstance(value, dict):
            yield from settings(value, f"{name}.")
        elif not isinstance(value, list | tuple):
            yield name, value


def attempts_table(attempts: Sequence[Attempt]) -> str:
    """Return a table in Markdown: each attempt's job, nodes, first and last step, and why it ended."""
    rows = ["| Attempt | Job | Nodes | From step | To step | Ended |", "|---:|---|---|---:|---:|---|"]
    for attempt in attempts[-_MOST_ROWS:]:
        rows.append(f"| {' | '.join(map(_escaped, attempt_row(attempt)))} |")
    return "\n".join(rows)


def attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    """Return number, job, nodes, first and last step, and why it ended; None where that isn't known."""
    claim = attempt.claim or {}
    hosts = ", ".join(claim.get("hosts", []))
    steps_done = attempt.first_step, attempt.last_step
    return (attempt.number, claim.get("job"), hosts, *steps_done, _ending(attempt))


def _ending(attempt: Attempt) -> str | None:
    if attempt.end is None:
        return None
    detail = " ".join(str(attempt.end.get("detail", "")).split())
    return f"{attempt.cause}: {detail}" if detail and attempt.reason != "stopped" else attempt.cause


def _escaped(cell: object) -> str:
    """Return a cell in which foreign text is no markup."""
    text = "-" if cell is None else str(cell)
    for mark in "\\|`*_[]<>":
        text = text.replace(mark, f"\\{mark}")
    return text


def _state(run: Run, attempts: Sequence[Attempt]) -> State:
    if run.result.exists():
        return "finished"
    last = attempts[-1] if attempts else None
    if last is None or last.end is None:
        return "running"
    if last.reason == "stopped":
        return "interrupted" if last.cause in _STARTED_AGAIN else "stopped"
    return "failed"


def _checkpoints(run: Run) -> Iterator[tuple[str, Path]]:
    if there := steps(run.checkpoints):
        yield "last", step_path(run.checkpoints, there[-1])
    if (best := run.checkpoints / "best.pt").exists():
        yield "best", best
