"""What a run shows, as TensorBoard's own reader finds it, over three attempts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from run_folder import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata
from torch import nn

from dnw import models
from dnw.config import load
from dnw.profile import profile
from dnw.runs import jsonl, ledger
from dnw.runs.claim import Claim, SupersededError
from dnw.runs.folder import Run
from dnw.runs.goodput import last_logged
from dnw.training import dashboard, drawing
from dnw.training.checkpoint import Position
from dnw.training.evaluation import Accuracy
from dnw.training.monitor import Monitor
from dnw.training.pictures import Pixels, panels
from dnw.wiring import Edges, edges_of

STEPS = 8
Shown = tuple[Run, EventAccumulator]


def attempt(run: Run, model: nn.Module, position: Position, until: int) -> None:
    """One that logs every step, evaluates and saves after 4 and 8, and is killed after `until`."""
    claim, train = Claim.take_over(run), load(run.config)
    ledger.claim(run, claim.number, job=f"7{claim.number}", restart=0, hosts=["n1", "n2"])
    ledger.start(run, claim.number, step=position.step, found=last_logged(run))
    with Monitor(claim, position, STEPS, train) as monitor:
        if position.step == 4 and position.evaluated < 4:
            evaluated(monitor, model, 4)
        for step in range(position.step + 1, until + 1):
            if step == position.step + 1:
                ledger.first_step(run, claim.number, step)
            monitor.training(step, step / 4, loss=10.0 * claim.number + step, top1=1.0, rate=0.1, batch=32)
            if step % 4 == 0:
                evaluated(monitor, model, step)
                monitor.saved(step, 0.25, 0.125, 1000, 600.0)
        if until == STEPS:
            monitor.done()
    if until < STEPS:
        ledger.end(run, claim.number, "killed", step=until, detail="by SIGKILL | on n2", by="launcher")


def evaluated(monitor: Monitor, model: nn.Module, step: int) -> None:
    monitor.evaluation(step, step / 4, Accuracy(top1=10.0 * step, top5=90.0, loss=1.5, samples=50))
    masks = {name: edges.mask.clone() for name, (_, edges) in edges_of(model).items()}
    monitor.wiring(step, model, masks, 32, swapped=0.1)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A run killed after step 6 and, gone on with from 4 without an evaluation, after 7."""
    run = make(tmp_path_factory.mktemp("monitor") / "runs")
    run.code.mkdir()
    record = {"commit": "c0ffee", "dirty": True, "digest": "0123456789abcdef", "files": {}}
    (run.code / "code.json").write_text(json.dumps(record))
    model = models.build(load(run.config))
    attempt(run, model, Position(), until=6)
    attempt(run, model, Position(step=4), until=7)
    attempt(run, model, Position(step=4, evaluated=4), until=STEPS)
    board = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "tensors": 0})
    return run, board.Reload()


def test_curves_do_not_overlap(shown: Shown) -> None:
    _, board = shown
    loss = board.Scalars("train/loss")
    assert [event.step for event in loss] == list(range(1, STEPS + 1))
    assert [event.value for event in loss] == [11, 12, 13, 14, 35, 36, 37, 38]
    for tag in ("val/top1", "wiring/macs", "wiring/effective_macs", "goodput/share", "goodput/steps_redone"):
        assert [event.step for event in board.Scalars(tag)] == [4, 8], tag


def test_goodput_is_drawn(shown: Shown) -> None:
    _, board = shown
    assert board.Scalars("goodput/steps_redone")[-1].value == 2 + 3
    assert 0 < board.Scalars("goodput/share")[-1].value < 1
    assert board.Scalars("goodput/restart_s")[-1].value >= 0


def test_metrics_tell_attempt_and_time(shown: Shown) -> None:
    run, _ = shown
    lines = jsonl.read(run.metrics)
    assert [(line["step"], line["attempt"]) for line in lines if line["kind"] == "train"] == [
        *((step, 1) for step in range(1, 5)),
        *((step, 3) for step in range(5, 9)),
    ]
    assert all(line["time"] > 1e9 for line in lines)


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
    assert named == values.keys() | {"sparsity", "epochs"}  # which another run of the sweep may have
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


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is drawn before it is set."""
    opened = threading.Event()

    def wait_and_draw(wirings: Mapping[str, Edges]) -> dict[str, Pixels]:
        assert opened.wait(60)
        return panels(wirings)

    monkeypatch.setattr(drawing, "panels", wait_and_draw)
    return opened


def test_the_wiring_is_drawn_beside_the_training_and_before_a_checkpoint(
    tmp_path: Path, gate: threading.Event
) -> None:
    run = make(tmp_path)
    model = models.build(load(run.config))
    expected = profile(model, 32)
    with Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor:
        evaluated(monitor, model, 4)
        monitor.training(5, 1.25, loss=1.0, top1=1.0, rate=0.1, batch=32)
        for _, edges in edges_of(model).values():
            edges.mask.fill_(True)  # as the training goes on
        assert [line["kind"] for line in jsonl.read(run.metrics)] == ["val", "train"]
        threading.Timer(0.3, gate.set).start()
        monitor.flush()
        line = jsonl.read(run.metrics)[-1]
    assert (line["kind"], line["step"], line["swapped"]) == ("wiring", 4, 0.1)
    assert (line["macs"], line["params"]) == (expected.macs, expected.params)
    assert line["effective_macs"] == expected.effective_macs


def test_who_ends_waits_for_the_picture(tmp_path: Path, gate: threading.Event) -> None:
    run = make(tmp_path)
    with Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor:
        evaluated(monitor, models.build(load(run.config)), 4)
        threading.Timer(0.3, gate.set).start()
    board = EventAccumulator(str(run.tensorboard), size_guidance={"images": 0}).Reload()
    assert [picture.step for picture in board.Images("wiring/graph")] == [4]


@pytest.mark.parametrize("ask", ["step", "flush", "wiring", "leave"])
def test_what_goes_wrong_in_drawing_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    def fail(_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(drawing, "panels", fail)
    run = make(tmp_path)
    model = models.build(load(run.config))
    with (  # noqa: PT012
        pytest.raises(OSError, match="no space left"),
        Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor,
    ):
        evaluated(monitor, model, 4)
        deadline = time.monotonic() + 60
        while ask == "step" and time.monotonic() < deadline:
            monitor.step(5)
        if ask == "flush":
            monitor.flush()
        if ask == "wiring":
            evaluated(monitor, model, 8)


def test_an_attempt_that_was_passed_over_draws_nothing(tmp_path: Path, gate: threading.Event) -> None:
    run = make(tmp_path)
    with (  # noqa: PT012
        pytest.raises(SupersededError),
        Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor,
    ):
        evaluated(monitor, models.build(load(run.config)), 4)
        Claim.take_over(run)
        gate.set()
        monitor.flush()
    assert [line["kind"] for line in jsonl.read(run.metrics)] == ["val"]
