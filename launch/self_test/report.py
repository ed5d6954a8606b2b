"""The table of a self-test, for a terminal, and as a Markdown file that can be pasted into a report."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from dnw import config
from dnw.console import PlainConsole
from dnw.runs import frozen_code
from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from launch.self_test import cases, findings
from launch.self_test.checks import NAMES
from launch.self_test.findings import Record
from shards.atomic import replacing

STYLES = {"passed": "green", "failed": "bold red", "not here": "yellow"}
COLUMNS = ("Check", "", "Figure", "Tolerance", "Seconds")
NAME = "self_test.md"
WIDTH = 160  # columns, where no terminal bounds them


def show(run: Run) -> None:
    """Print the table of what is known so far, if anything is."""
    records = findings.read(run, NAMES)
    if not records:
        return
    console = PlainConsole(width=WIDTH)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
        title=_title(run, records),
        title_justify="left",
    )
    for name in COLUMNS:
        table.add_column(name, justify="right" if name == "Seconds" else "left", overflow="fold")
    for one in records:
        state = Text(one.state, style=STYLES[one.state])
        table.add_row(one.shows, state, Text(one.figure), one.tolerance, f"{one.seconds:.1f}")
    console.print(table)
    if (run.folder / NAME).exists():
        console.print(f"to paste into a report: {run.folder / NAME}", soft_wrap=True)


def write(run: Run, hosts: Sequence[str], nproc: int) -> None:
    """Write the file.

    Args:
        run: of the self-test.
        hosts: names of its nodes.
        nproc: processes on each of them.
    """
    records = findings.read(run, NAMES)
    lines = [f"# Self-test: {_title(run, records)}", ""]
    lines += [f"- {key}: {value}" for key, value in _facts(run, hosts, nproc).items()]
    lines += ["", "| check | result | figure | tolerance | s |", "|---|---|---|---|---|"]
    for one in records:
        cells = (one.shows, f"**{one.state}**", one.figure, one.tolerance, f"{one.seconds:.1f}")
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    with replacing(run.folder / NAME) as file:
        file.write(("\n".join(lines) + "\n").encode())


def conclude(run: Run, claim: Claim, records: Sequence[Record]) -> None:
    """Write the result of a self-test of which no check failed.

    Args:
        run: of the self-test.
        claim: of the attempt that writes it.
        records: of all checks.
    """
    result = {"exp": "self_test", "steps": len(records), **counts(records)}
    with claim.replacing(run.result) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())


def counts(records: Sequence[Record]) -> dict[str, int]:
    """Return how many checks came to each state."""
    return {state: sum(one.state == state for one in records) for state in STYLES}


def _title(run: Run, records: Sequence[Record]) -> str:
    told = counts(records)
    missing = (config.load(run.config).steps or 0) - len(records)  # a step is a check
    return ", ".join(
        [f"{told['passed']} passed, {told['failed']} failed, {told['not here']} not here"]
        + ([f"{missing} not made"] if missing else [])
    )


def _facts(run: Run, hosts: Sequence[str], nproc: int) -> dict[str, str]:
    """Return what the file says above the table."""
    code = frozen_code.read_record(run.code)
    edited = ", edited" if code["dirty"] else ""
    told = {
        "code": f"{(code['commit'] or 'no commit')[:12]}{edited}, digest {code['digest'][:12]}",
        "nodes": f"{len(hosts)} ({', '.join(hosts)}), {nproc} processes each, {socket.gethostname()} leading",
    }
    for facts in _machines(run)[:1]:
        gpu = facts["versions"]["gpu"]
        told["GPU"] = gpu if gpu == "none" else f"{gpu}, {facts['gpus']} a node, {facts['memory_gb']} GB each"
        told |= {key: str(value) for key, value in facts["versions"].items() if key != "gpu"}
    kinds = {json.dumps(facts["versions"], sort_keys=True) for facts in _machines(run)}
    if len(kinds) > 1:
        told["nodes differ"] = f"{len(kinds)} kinds among {len(_machines(run))} processes; above is rank 0's"
    return told


def _machines(run: Run) -> list[dict[str, Any]]:
    told = cases.done(run, "measure-machine")
    return [rank["facts"] for rank in json.loads(told.result.read_bytes())["ranks"]] if told else []
