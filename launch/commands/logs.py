"""The logs of a run, all nodes together: those of one attempt, or of all that come, as they come."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from dnw.invocation import RUNS
from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt
from launch.cluster.submission import newest
from launch.commands.log_lines import Line, Tail, failures, merged
from launch.errors import LaunchError
from launch.query.run_status import RunStatus, query_status
from shards.files.folder_entries import matching

POLL_S = 0.5  # between two looks at the files
ASK_S = 10.0  # between two questions whether anybody is still at work, which may go to Slurm
WIDTH = 78
STOPPED = "KeyboardInterrupt"  # of a worker that was asked to stop before it could listen: no error


def show(run: Run, attempt: int | None, lines: int, follow: bool) -> int:
    """Print the logs of a run.

    Args:
        run: whose.
        attempt: of which attempt; None: the newest, and when following, all that come after it.
        lines: the last so many; 0: all.
        follow: go on until the run, or the attempt that was asked for, has ended.

    Returns:
        the exit code, 0.

    Raises:
        LaunchError: there is no such attempt, or nothing that any has printed.
    """
    last = newest_attempt(run)
    shown = last if attempt is None else attempt
    tails = _tails(run, shown) if shown <= last else []
    known = merged(tails, to_the_end=not follow)
    if shown > last or (not known and not follow):
        raise LaunchError(_why_nothing(run, attempt))
    _print_errors(run, shown, known)
    _print_head(run, tails, known, lines)
    _print(known[-lines:] if lines else known)
    if follow:
        _Follower(run, shown, tails, is_fixed=attempt is not None).run()
    return 0


def newest_attempt(run: Run) -> int:
    """Return the number of the newest attempt that there is any trace of; 0 if there is none."""
    logged = [int(path.name.partition("-")[0]) for path in matching(run.logs, "[0-9]*-[0-9]*.log")]
    return max([*logged, ledger.next_attempt(run) - 1])


class _Follower:
    """Prints what comes, attempt after attempt."""

    def __init__(self, run: Run, attempt: int, tails: list[Tail], is_fixed: bool) -> None:
        self.run_, self.attempt, self.tails, self.is_fixed = run, attempt, tails, is_fixed
        self._asked_at = float("-inf")
        self._is_over = self._has_said_queued = False

    def run(self) -> None:
        """Follow to the end, or to Ctrl-C."""
        while True:
            is_over = self._has_ended()  # asked first: what is printed before the end is still read below
            self._read(to_the_end=is_over)
            coming = newest_attempt(self.run_)
            if coming > self.attempt and not self.is_fixed:
                self._read(to_the_end=True)
                self.attempt, self.tails, self._has_said_queued = coming, [], False
                print(_head(f"attempt {coming}"), flush=True)
                continue
            if is_over:
                break
            time.sleep(POLL_S)
        _print_end(self.run_, self.attempt if self.is_fixed else None)

    def _read(self, to_the_end: bool) -> None:
        known = {tail.path for tail in self.tails}
        self.tails += [tail for tail in _tails(self.run_, self.attempt) if tail.path not in known]
        _print(merged(self.tails, to_the_end))

    def _has_ended(self) -> bool:
        if self.run_.result.exists():
            return True
        if self.is_fixed and (newest_attempt(self.run_) > self.attempt or _end(self.run_, self.attempt)):
            return True
        if time.monotonic() - self._asked_at > ASK_S:
            ((status,), _) = query_status([self.run_])
            self._is_over, self._asked_at = not status.may_be_at_work, time.monotonic()
            self._say_queued(status)
        return self._is_over

    def _say_queued(self, status: RunStatus) -> None:
        if status.state == "queued" and not self._has_said_queued:
            self._has_said_queued = True
            why = f" ({status.job.reason})" if status.job else ""
            print(_head(f"queued{why}; waiting for the next attempt"), flush=True)


def _tails(run: Run, attempt: int) -> list[Tail]:
    """Return the files that tell of an attempt: its workers' logs, or else its job's output."""
    names = _hosts(run, attempt)
    logs = sorted(matching(run.logs, f"{attempt:03d}-*.log"), key=_node) if attempt else []
    if logs:
        several = len(logs) > 1 or len(names) > 1
        return [Tail(log, names.get(_node(log), f"node {_node(log)}") if several else "") for log in logs]
    if attempt < newest_attempt(run):
        return []
    outputs = _outputs(run)
    return [Tail(path, path.name if len(outputs) > 1 else "") for path in outputs]


def _outputs(run: Run) -> list[Path]:
    """Return what the newest job printed besides: submitit's files of it, and the local controller's."""
    last = newest(run)
    if last is None:
        return []
    folder = Path(last.folder)
    found = [*matching(folder, f"{last.job}_*log.out"), *matching(folder, f"{last.job}_*log.err")]
    return sorted(
        path for path in [*found, folder / "controller.log"] if path.exists() and path.stat().st_size
    )


def _hosts(run: Run, attempt: int) -> dict[int, str]:
    claim = _attempt(run, attempt).claim or {}
    return dict(enumerate(claim.get("hosts", [])))


def _node(log: Path) -> int:
    found = re.fullmatch(r"\d+-(\d+)\.log", log.name)
    return int(found[1]) if found else 0


def _attempt(run: Run, number: int) -> Attempt:
    return next((one for one in ledger.read(run) if one.number == number), Attempt(number))


def _end(run: Run, attempt: int) -> bool:
    return _attempt(run, attempt).end is not None


def _print_errors(run: Run, attempt: int, known: Sequence[Line]) -> None:
    end = _attempt(run, attempt).end or {}
    found = [one for one in failures(known) if one.lines[-1].text != STOPPED]
    is_bad = end.get("reason") not in {None, "done", "stopped"}
    if not found and not is_bad:
        return
    print(_head(f"errors of attempt {attempt}"))
    if is_bad:
        on = f" on {end['node']}" if "node" in end else ""
        print(f"{end['reason']}{on}: {end.get('detail', 'no more is known')}")
    for failure in found:
        _print(failure.lines)
        if failure.times > 1:
            print(f"({failure.times - 1} more like it)")


def _print_head(run: Run, tails: Sequence[Tail], known: Sequence[Line], lines: int) -> None:
    if not tails:
        return
    names = ", ".join(str(tail.path.relative_to(_base(run, tail.path))) for tail in tails)
    left_out = len(known) - lines if 0 < lines < len(known) else 0
    print(_head(names + (f", last {lines} of {len(known)} lines" if left_out else "")), flush=True)


def _print_end(run: Run, attempt: int | None) -> None:
    ((status,), notes) = query_status([run])
    what = f"attempt {attempt}" if attempt is not None else run.name
    print(_head(f"{what}: {_ending(status, attempt)}"), *notes, sep="\n", flush=True)


def _ending(status: RunStatus, attempt: int | None) -> str:
    if attempt is None:
        why = f" ({status.why})" if status.why and status.state != "finished" else ""
        return f"{status.state}{why}"
    ended = _attempt(status.run, attempt)
    return ended.cause or "no word of its end"


def _why_nothing(run: Run, attempt: int | None) -> str:
    numbers = sorted({int(path.name.partition("-")[0]) for path in matching(run.logs, "[0-9]*-[0-9]*.log")})
    last = newest(run)
    if attempt is None and last is not None and last.cluster == "foreground":
        return (
            f"{run.name}: ran in the foreground of {last.host}, so the terminal has what it printed; "
            f"{RUNS} status tells how it stands"
        )
    if attempt is None:
        return f"{run.name}: nothing has been printed yet; logs -f waits for it"
    known = ", ".join(map(str, numbers)) or "none"
    return f"--attempt: {run.name} has no logs of attempt {attempt}; there are those of: {known}"


def _print(lines: Sequence[Line]) -> None:
    if lines:
        print(*lines, sep="\n", flush=True)


def _head(text: str) -> str:
    return f"──── {text} {'─' * max(4, WIDTH - len(text) - 6)}"


def _base(run: Run, path: Path) -> Path:
    return run.folder if path.is_relative_to(run.folder) else path.parent
