"""What TensorBoard shows beside the curves."""

from __future__ import annotations

from pathlib import Path

import pytest
from monitored import attempt, killed_twice
from run_folder import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from dnw import models
from dnw.config import load
from dnw.runs.folder import Run
from dnw.training.checkpoint import Position
from dnw.training.monitoring import dashboard

Shown = tuple[Run, EventAccumulator]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A run killed after step 6 and, gone on with from 4 without an evaluation, after 7."""
    run = killed_twice(tmp_path_factory.mktemp("monitor") / "runs")
    board = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "tensors": 0})
    return run, board.Reload()


def text(board: EventAccumulator, tag: str) -> str:
    return board.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


def test_cards(shown: Shown) -> None:
    run, board = shown
    assert f"```yaml\n{run.config.read_text()}```" == text(board, "run/configuration")
    assert text(board, "run/code") == "commit `c0ffee`, with uncommitted changes; digest `0123456789`"
    assert text(board, "run/attempts").splitlines()[2:] == [
        "| 1 | 71 | n1, n2 | 0 | 6 | killed: by SIGKILL \\| on n2 |",
        "| 2 | 72 | n1, n2 | 4 | 7 | killed: by SIGKILL \\| on n2 |",
        "| 3 | 73 | n1, n2 | 4 | - | - |",
    ]


def test_a_run_folder_without_code(tmp_path: Path) -> None:
    run = make(tmp_path)
    model = models.build(load(run.config))
    attempt(run, model, Position(), until=1)
    board = EventAccumulator(str(run.tensorboard)).Reload()
    assert text(board, "run/code") == "no copy of the code in the run folder"


def plugin(board: EventAccumulator, tag: str) -> bytes:
    return bytes(board.SummaryMetadata(tag).plugin_data.content)


def test_settings_and_what_came_of_them_stand_in_the_table_of_a_sweep(shown: Shown) -> None:
    run, board = shown
    begun = metadata.parse_session_start_info_plugin_data(plugin(board, metadata.SESSION_START_INFO_TAG))
    values = {name: value.WhichOneof("kind") for name, value in begun.hparams.items()}
    train = load(run.config)
    assert begun.hparams["width"].number_value == train.width
    assert begun.hparams["optim.lr"].number_value == train.optim.lr
    assert begun.hparams["model.name"].string_value == "static"
    assert {"seed", "batch", "wiring.name", "data.name", "exp"} < values.keys()
    assert (
        not {"data.dir", "checkpoint.keep", "version", "data.train_fingerprint", "sparsity"} & values.keys()
    )
    columns = metadata.parse_experiment_plugin_data(plugin(board, metadata.EXPERIMENT_TAG))
    named = {info.name for info in columns.hparam_infos}
    unset = {"sparsity", "epochs", "data.eval_size", "optim.step_epochs", "optim.clip_norm", "optim.ema"}
    assert named == values.keys() | unset  # which another run of the sweep may have
    metrics = [info.name.tag for info in columns.metric_infos]
    assert tuple(metrics) == dashboard.METRICS
    assert set(metrics) <= set(board.Tags()["scalars"])
    done = metadata.parse_session_end_info_plugin_data(plugin(board, metadata.SESSION_END_INFO_TAG))
    assert done.status  # that of success


def test_the_charts_are_of_curves_that_there_are(shown: Shown) -> None:
    _, board = shown
    layout = layout_pb2.Layout()
    layout.ParseFromString(board.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
    assert [group.title for group in layout.category] == list(dashboard.CHARTS)
    tags = {tag for group in layout.category for chart in group.chart for tag in chart.multiline.tag}
    assert tags <= set(board.Tags()["scalars"])
