"""Look at runs, read their logs, stop them, drill a preemption, tabulate results: --help says how."""

from __future__ import annotations

import os
import sys

# the project, so that nothing need be installed; without pathlib, since Ctrl-C isn't taken care of yet
sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120

from shards import terminal  # noqa: E402

if __name__ == "__main__":
    terminal.begin()

from shards import environment  # noqa: E402

environment.require()

import argparse  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

from dnw import __version__  # noqa: E402
from dnw.invocation import RUNS, as_typed  # noqa: E402
from launch.query import select  # noqa: E402
from shards import command  # noqa: E402

_AGAIN = "type the command that began the run once more: it goes on from its newest checkpoint"
ELSEWHERE = {  # what other tools call it
    **dict.fromkeys(("list", "ls", "show", "ps", "queue", "watch", "top"), "did you mean status?"),
    **dict.fromkeys(
        ("resume", "restart", "continue", "requeue", "rerun", "retry", "start", "submit"), _AGAIN
    ),
    **dict.fromkeys(("stop", "kill", "scancel", "abort"), "did you mean cancel?"),
    **dict.fromkeys(("rm", "remove", "delete", "prune", "gc"), "did you mean clean?"),
    **dict.fromkeys(("tail", "follow", "cat", "output"), "did you mean logs?"),
    **dict.fromkeys(("results", "best", "summary"), "did you mean table?"),
    **dict.fromkeys(("diff", "plot"), "did you mean compare?"),
    "wait": "type the command that began the run once more, with wait=true",
}
LONGEST_S = 1e6  # between two looks
MISUSED = 2  # exit code of a command line that can't be followed
Act = Callable[[argparse.Namespace], int]
RUN = """\
A RUN is a run folder, a name (demo_dnw/default-41cb4f47f5), or as much of a name as fits only one
run (41cb): a beginning, else any part. Names are looked for below --runs-dir."""

HELP = f"""\
What became of runs, wherever launch/slurm.py and launch/local.py have sent them.

  python launch/runs.py status                   all runs in a table; --watch keeps it up to date
  python launch/runs.py logs -f 41cb             what a run's workers print, now and in attempts to come
  python launch/runs.py cancel 41cb              save and stop; run the submit command again to resume

  python launch/runs.py drill 41cb               preempt a run on purpose: what does it cost?
  python launch/runs.py table                    results of finished runs, beside those of the paper
  python launch/runs.py compare 41cb 9f3e        settings in which runs differ, results, curves
  python launch/runs.py study                    trials of an adaptive sweep, and its Pareto front
  python launch/runs.py clean                    what may be deleted, and how large it is; asks first
  python launch/runs.py serve                    status, curves and costs as a page, in a browser
  python launch/runs.py tensorboard              curves and pictures of all runs, in a browser
  python launch/runs.py track 41cb --to mlflow   send it to a tracker, nothing twice
  python launch/runs.py COMMAND --help           more of each

{RUN}"""

STATUS = f"""\
One row a run: state, job, nodes, how far it is, how good, how fast, how long it will still take, and
why its last attempt ended. Without a RUN: all of them.

  finished   done: result.json is there       stopped   on request, saved; type the submit command to go on
  running    an attempt is at work            failed    its last attempt broke off; logs RUN tells why
  queued     its job waits; Slurm's reason    ready     prepared, never begun
  unreadable its files are damaged, or another version's; why is said below the table

Top-1 is that of the last log interval, in training; Val top-1 that of the last evaluation. However many
runs there are, Slurm is asked once (squeue, sacct), and not at all if none went there. --watch redraws the
table in place, what is at work first where the window is too low for all; into a file it is printed again.
In --json a loss that is no number is a string: "NaN", "Infinity".

  python launch/runs.py status
  python launch/runs.py status 41cb 9f3e --watch 10
  python launch/runs.py status --json | jq '.[] | select(.state == "failed") | .run'

{RUN}"""

LOGS = f"""\
What the workers of the newest attempt printed, on all nodes, in order of time. Errors come first, in a
block of their own: why the attempt ended, and each traceback once. Where an attempt broke off before it had
workers, what its job printed is shown.

  python launch/runs.py logs 41cb --lines 0      all of it
  python launch/runs.py logs 41cb --attempt 2    an earlier attempt
  python launch/runs.py logs 41cb -f             and all that follows, attempt after attempt, to the run's end

{RUN}"""

CANCEL = f"""\
Has runs save and stop, and waits for their end. Nothing is lost: run the submit command again to resume.
Slurm kills a job KillWait seconds after asking it, 30 on most clusters; a run that needs longer to save
resumes from its last checkpoint. Of runs that share a job (pack=4) the others go on.

  python launch/runs.py cancel 41cb 9f3e
  python launch/runs.py cancel 41cb --no-wait    return at once
  python launch/runs.py cancel 41cb --now        kill it, saving nothing

{RUN}"""

DRILL = f"""\
Preempts a run at work on purpose, and reports what it cost, step by step: Slurm is told to requeue the
job (TERM, KILL, and into the queue again), the nearest thing to a preemption that a user may do. A run of
cluster=local is stopped and submitted again. Nothing is lost but the time reported.

  python launch/runs.py drill 41cb
  python launch/runs.py drill 41cb --json

Exit code: 0 if the run goes on where it stopped; 1 if steps were lost, or it doesn't go on.

{RUN}"""

TABLE = """\
The paper's table from finished runs: parameters, multiply-adds, top-1 at the end of training, and what the
paper published for the same network, wiring and data. Runs that differ in the seed alone make one row, mean ±
standard deviation. Without a RUN: all of them; a folder of runs, or the name of an experiment, stands for its
runs. How long a run trained is not compared with the paper: see the column.

  python launch/runs.py table
  python launch/runs.py table imagenet_dnw imagenet_random --markdown
  python launch/runs.py table --csv > results.csv
  python launch/runs.py table --plot top1.svg    top-1 against multiply-adds, the paper's as open marks

A RUN is as for status."""

COMPARE = f"""\
Runs side by side, a column each: the settings in which they differ; how far and how good they are; validation
top-1 at the same steps, or the loss in training where one of them has not been evaluated yet. Parameters and
multiply-adds of a run that isn't finished are those that its newest wiring uses.

  python launch/runs.py compare 41cb 9f3e
  python launch/runs.py compare 41cb 9f3e 77d0 --plot curves.png
  python launch/runs.py compare 41cb 9f3e --json        the curves as logged, [step, value]

{RUN}"""

CLEAN = f"""\
Lists what may be deleted and why, with sizes; then asks, and deletes it. Without a terminal to ask on, it
deletes nothing unless told --yes. What is running or queued is never touched, nor what may be.

  runs that fresh=true moved aside            checkpoints of finished runs, but the first, best and last
  damaged checkpoints                         what killed attempts and submissions left half-written
  files of sweeps whose jobs are over, unless one failed: logs RUN may need them

With a RUN: of that run alone, and of those that fresh=true moved aside for it.

  python launch/runs.py clean --dry-run
  python launch/runs.py clean 41cb --yes

Exit code: 1 if nothing was deleted though something may be.

{RUN}"""

SERVE = f"""\
Serves the status of runs as a page to a browser on this machine until Ctrl-C: what status shows, and curves,
attempts with their causes, costs and energy; sorted and filtered there. Prints the address, which holds a
secret, new each time, since all users of a machine reach its ports; and the ssh command by which a browser
elsewhere gets there. Nothing can be changed by it. Without a RUN: all of them, those that begin later too.

  python launch/runs.py serve
  python launch/runs.py serve 41cb 9f3e --port 8800

{RUN}"""

STUDY = """\
The trials of an adaptive sweep (-m hydra/sweeper=optuna): values, results, why one was stopped early or
failed. A * marks those on the Pareto front: no other is as good in all objectives, and better in one. STUDY
is its folder in that of the runs, or a part of its name; it may be left out where there is but one.

  python launch/runs.py study
  python launch/runs.py study demo_dnw-study --csv > trials.csv
  python launch/runs.py study --plot pareto.png"""

TENSORBOARD = f"""\
Serves the curves and pictures of runs to a browser on this machine, and to nobody else, until Ctrl-C; prints
the address, and the ssh command by which a browser elsewhere gets there. Without a RUN: all of them, those
that begin meanwhile too; a folder of runs, or the name of an experiment, stands for its runs.

  python launch/runs.py tensorboard
  python launch/runs.py tensorboard demo_dnw 9f3e --port 6010

{RUN}"""

TRACK = f"""\
Sends what isn't there yet: curves, settings, attempts, result, pictures; again, nothing twice. Where to,
these libraries' own variables say: docs/tracking.md. A folder of runs, or the name of an experiment, stands
for its runs. Exit code: 1 if something could not be sent.

  python launch/runs.py track 41cb --to mlflow   without --to: those that its track= names
  python launch/runs.py track imagenet_dnw/ --to mlflow --to wandb

{RUN}"""


@command.answers(MISUSED)
def main(arguments: Sequence[str]) -> int:
    """Follow the command line.

    Returns:
        the exit code: 2 after one line on stderr, where the line names no run.
    """
    asked = _parser().parse_args(arguments)
    act: Act = asked.act
    return act(asked)


def _status(asked: argparse.Namespace) -> int:
    from launch.commands import status  # noqa: PLC0415  (each command imports what it needs)

    status.show(select.selection(asked.run, asked.runs_dir), asked.json, asked.watch, asked.energy)
    return 0


def _logs(asked: argparse.Namespace) -> int:
    from launch.commands import logs  # noqa: PLC0415

    (run,) = select.select_runs([asked.run], asked.runs_dir)
    return logs.show(run, asked.attempt, asked.lines, asked.follow)


def _cancel(asked: argparse.Namespace) -> int:
    from launch.commands import cancel  # noqa: PLC0415

    return cancel.cancel(select.select_runs(asked.run, asked.runs_dir), now=asked.now, wait=asked.wait)


def _drill(asked: argparse.Namespace) -> int:
    from launch.commands import drill  # noqa: PLC0415

    (run,) = select.select_runs([asked.run], asked.runs_dir)
    return drill.show(run, as_json=asked.json)


def _table(asked: argparse.Namespace) -> int:
    from launch.commands import plot, results  # noqa: PLC0415

    if asked.plot is not None:
        plot.check(asked.plot)
    found = results.show(results.select_finished(asked.run, asked.runs_dir), asked.form)
    if asked.plot is not None:
        from launch.commands import results_plot  # noqa: PLC0415

        results_plot.draw(found, asked.plot)
    return 0


def _study(asked: argparse.Namespace) -> int:
    from launch.commands import plot  # noqa: PLC0415
    from launch.study import record, settings, table  # noqa: PLC0415

    settings.check_installed()
    if asked.plot is not None:
        plot.check(asked.plot)
    study = record.look(table.find(asked.run, asked.runs_dir))
    table.show(study, asked.form)
    if asked.plot is not None:
        table.draw(study, asked.plot)
    return 0


def _compare(asked: argparse.Namespace) -> int:
    from launch.commands import compare  # noqa: PLC0415

    return compare.show(select.select_runs(asked.run, asked.runs_dir), asked.json, asked.plot)


def _clean(asked: argparse.Namespace) -> int:
    from launch.commands import clean  # noqa: PLC0415

    whole = None if asked.run else asked.runs_dir
    return clean.clean(
        select.select_runs(asked.run, asked.runs_dir), whole, yes=asked.yes, dry_run=asked.dry_run
    )


def _tensorboard(asked: argparse.Namespace) -> int:
    from launch.commands import results, tensorboard  # noqa: PLC0415

    runs = results.select_finished(asked.run, asked.runs_dir)
    return tensorboard.show(lambda: runs if asked.run else select.below(asked.runs_dir), asked.port)


def _serve(asked: argparse.Namespace) -> int:
    from launch.commands.serve import server  # noqa: PLC0415

    return server.show(select.selection(asked.run, asked.runs_dir), asked.port)


def _track(asked: argparse.Namespace) -> int:
    from launch.commands import results, track  # noqa: PLC0415

    return track.send(results.select_finished(asked.run, asked.runs_dir), asked.to)


def _parser() -> command.Parser:
    parser = command.Parser(
        prog=RUNS.removeprefix("python "),
        elsewhere=ELSEWHERE,
        description=as_typed(HELP),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", "-V", action="version", version=f"dnw {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    status = _command(commands, "status", STATUS, _status, "how runs stand", runs="*")
    status.add_argument("--json", action="store_true", help="a list of objects, times in seconds since 1970")
    status.add_argument(
        "--watch",
        metavar="S",
        nargs="?",
        type=command.seconds,
        const=5.0,
        help="every S seconds (5), until Ctrl-C",
    )
    status.add_argument("--energy", action="store_true", help="kWh of each run, by Slurm's accounts (sacct)")
    logs = _command(commands, "logs", LOGS, _logs, "what a run prints", runs=None)
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run ends, or Ctrl-C")
    logs.add_argument(
        "--attempt", metavar="N", type=command.positive, help="this one, in place of the newest"
    )
    words, last = ("-n", "--lines", "--tail"), "the last N lines (50); 0: all"
    logs.add_argument(*words, dest="lines", metavar="N", type=command.count, default=50, help=last)
    cancel = _command(commands, "cancel", CANCEL, _cancel, "stop runs, saving first", runs="+")
    cancel.add_argument("--now", action="store_true", help="kill, without saving")
    cancel.add_argument("--no-wait", dest="wait", action="store_false", help="return at once")
    drill = _command(
        commands, "drill", DRILL, _drill, "preempt a running job on purpose, and time it", runs=None
    )
    drill.add_argument("--json", action="store_true", help="an object, times in seconds")
    _add_results(commands)
    return parser


def _add_results(commands: argparse._SubParsersAction[command.Parser]) -> None:
    """Add the commands that show what came out of runs, and the one that deletes what nobody needs."""
    table = _command(commands, "table", TABLE, _table, "results beside those of the paper", runs="*")
    forms = table.add_mutually_exclusive_group()
    for form in ("csv", "markdown", "json"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=f"as {form}")
    table.set_defaults(form="terminal")
    study = _command(
        commands, "study", STUDY, _study, "trials of an adaptive sweep", runs="?", metavar="STUDY"
    )
    forms = study.add_mutually_exclusive_group()
    for form in ("csv", "json"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=f"as {form}")
    study.set_defaults(form="terminal")
    compare = _command(commands, "compare", COMPARE, _compare, "runs side by side", runs="+")
    compare.add_argument("--json", action="store_true", help="a list of objects, with the curves")
    for drawn in (table, compare, study):
        drawn.add_argument("--plot", metavar="FILE", type=command.path, help="draw it: .png, .svg or .pdf")
    clean = _command(commands, "clean", CLEAN, _clean, "delete what nobody needs", runs="*")
    clean.add_argument("--yes", action="store_true", help="delete without asking")
    clean.add_argument("--dry-run", action="store_true", help="list alone")
    page = _command(commands, "serve", SERVE, _serve, "status as a page in a browser", runs="*")
    board = _command(commands, "tensorboard", TENSORBOARD, _tensorboard, "curves in a browser", runs="*")
    for of, first in ((page, 8790), (board, 6006)):
        said = f"this one; else {first}, or the next that is free"
        of.add_argument("--port", metavar="N", type=command.port, help=said)
    track = _command(commands, "track", TRACK, _track, "send runs to MLflow or Weights & Biases", runs="+")
    track.add_argument(
        "--to", choices=["mlflow", "wandb"], action="append", default=[], help="or both, twice"
    )


def _command(
    commands: argparse._SubParsersAction[command.Parser],
    name: str,
    description: str,
    act: Act,
    summary: str,
    runs: str | None,
    metavar: str = "RUN",
) -> command.Parser:
    parser = commands.add_parser(
        name,
        description=as_typed(description),
        help=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(act=act)
    parser.add_argument(
        "run", metavar=metavar, nargs=runs, type=command.name, help="folder, name, or part of a name"
    )
    parser.add_argument(
        "--runs-dir", metavar="DIR", type=command.path, default=Path("runs"), help="where runs lie (runs)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
