"""What TensorBoard shows beside the curves: a run's settings, code, attempts, and which curves go together.

All of it is written to the run's own event files, so that no other run appears among the user's.
"""

from __future__ import annotations

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from dnw.config import Train, dump_for_people, plain
from dnw.runs import frozen_code, ledger
from dnw.runs.folder import Run
from dnw.tracking.facts import attempts_table, settings

# Curves whose last values stand in the table of the HParams tab, beside the settings.
METRICS = ("val/top1", "wiring/params", "wiring/macs", "goodput/share")
# The Custom Scalars tab: groups of charts, and of each the curves.
CHARTS = {
    "Training": {
        "Loss": ["train/loss", "val/loss"],
        "Top-1, %": ["train/top1", "val/top1"],
        "Learning rate": ["train/lr"],
    },
    "Wiring": {
        "Edges swapped": ["wiring/swapped"],
        "Dead nodes": ["wiring/dead_nodes"],
        "Multiply-adds": ["wiring/macs", "wiring/effective_macs"],
    },
    "Speed": {
        "Images per second": ["train/images_per_second"],
        "Goodput": ["goodput/share"],
        "Steps redone": ["goodput/steps_redone"],
    },
}


def introduce(board: SummaryWriter, run: Run, train: Train, step: int) -> None:
    """Say what run this is, as an attempt begins that goes on after `step`.

    Args:
        board: TensorBoard's writer.
        run: that is introduced.
        train: its configuration.
        step: after which the attempt goes on.
    """
    board.add_text("run/configuration", f"```yaml\n{dump_for_people(train)}```", step)
    board.add_text("run/code", _code(run), step)
    board.add_text("run/attempts", attempts_table(ledger.read(run)), step)
    board.add_custom_scalars(
        {
            group: {title: ["Multiline", tags] for title, tags in charts.items()}
            for group, charts in CHARTS.items()
        }
    )
    values = dict(settings(plain(train)))
    # Of the runs of a sweep TensorBoard takes the columns from one: each lists all, set or not.
    columns, _, _ = hparams({name: value or 0 for name, value in values.items()}, dict.fromkeys(METRICS, 0.0))
    _, begun, _ = hparams(values, {})
    for summary in (columns, begun):
        board._get_file_writer().add_summary(summary)


def conclude(board: SummaryWriter) -> None:
    """Say that the run is done."""
    _, _, done = hparams({}, {})
    board._get_file_writer().add_summary(done)


def _code(run: Run) -> str:
    """Of which commit the code is, and the digest over all of its files."""
    record = frozen_code.read_record(run.code)
    if not record:
        return "no copy of the code in the run folder"
    commit = f"commit `{record['commit']}`" if record["commit"] else "of no commit"
    changed = ", with uncommitted changes" if record["dirty"] else ""
    return f"{commit}{changed}; digest `{record['digest'][:10]}`"
