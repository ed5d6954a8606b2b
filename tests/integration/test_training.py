"""What a run leaves behind for people, and what it says when it can't go on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import webdataset
from object_store import http
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from worker import ROOT, assert_same_weights, digests, prepare, start, train

from dnw import evaluate
from dnw.runs import jsonl, ledger
from dnw.runs.claim import Claim
from dnw.runs.folder import Run, step_path, steps
from dnw.runs.lock import Lock
from dnw.training import checkpoint
from shards import index
from shards.index import Index
from shards.remote import fetch_index

CHANGES = {"steps": 8, "checkpoint__every_steps": 3, "log__every_steps": 1}


together = pytest.mark.xdist_group("killed and resumed")  # one worker makes that run


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory, few_images: Path) -> Run:
    """A run that was killed twice, and had logged steps each time that its next attempt did again."""
    run = prepare(tmp_path_factory.mktemp("training") / "run", few_images, **CHANGES)
    for fault, saved in (("0:step 5", 4), ("1:step 8", 6)):
        assert train(run, 2, f"{fault}:::{step_path(run.checkpoints, saved)}")[0] != 0
    code, output = train(run, 2)
    assert code == 0, output
    return run


def read_board(run: Run) -> EventAccumulator:
    board = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "images": 0})
    return board.Reload()


@together
def test_curves_do_not_overlap_after_a_resume(killed_and_resumed: Run) -> None:
    """As TensorBoard's own reader shows them."""
    board = read_board(killed_and_resumed)
    for tag in ("train/loss", "train/top1", "train/lr", "train/images_per_second"):
        assert [event.step for event in board.Scalars(tag)] == list(range(1, 9)), tag
    for tag in ("val/top1", "val/top5", "val/loss", "wiring/swapped", "wiring/effective_macs"):
        assert [event.step for event in board.Scalars(tag)] == [4, 8], tag
    assert [event.step for event in board.Scalars("dead_nodes/graph")] == [4, 8]
    assert [event.step for event in board.Scalars("goodput/share")] == [4, 8]


@together
def test_the_wiring_is_shown_as_a_picture(killed_and_resumed: Run) -> None:
    pictures = read_board(killed_and_resumed).Images("wiring/graph")
    assert [picture.step for picture in pictures] == [4, 8]
    assert pictures[0].encoded_image_string != pictures[1].encoded_image_string
    assert killed_and_resumed.wiring.read_bytes().startswith(b"\x89PNG")


@together
def test_metrics_hold_every_step_once(killed_and_resumed: Run) -> None:
    steps = defaultdict(list)
    for line in jsonl.read(killed_and_resumed.metrics):
        steps[line["kind"]].append(line["step"])
    saves = steps.pop("save")
    assert saves == sorted(saves)
    assert steps == {"train": list(range(1, 9)), "val": [4, 8], "wiring": [4, 8]}


@together
def test_the_curves_are_those_of_the_metrics(killed_and_resumed: Run) -> None:
    shown = {event.step: event.value for event in read_board(killed_and_resumed).Scalars("train/loss")}
    for line in jsonl.read(killed_and_resumed.metrics):
        if line["kind"] == "train":
            assert shown[line["step"]] == pytest.approx(line["loss"], rel=1e-6)


@together
def test_result_says_what_came_out(killed_and_resumed: Run) -> None:
    result = json.loads(killed_and_resumed.result.read_text())
    last = [line for line in jsonl.read(killed_and_resumed.metrics) if line["kind"] == "val"][-1]
    assert (result["top1"], result["loss"]) == (last["top1"], last["loss"])
    assert last["samples"] == 50
    assert result["steps"] == 8
    assert result["attempts"] == 3
    assert result["params"] == 41288
    goodput = result["goodput"]
    assert goodput["steps_redone"] == (5 - 4) + (8 - 6)
    parts = [goodput[f"{part}_s"] for part in ("productive", "startup", "stalled", "lost")]
    assert goodput["allocated_s"] == pytest.approx(sum(parts), abs=0.01)
    assert 0 < goodput["share"] < 1
    assert min(parts) > 0
    assert (killed_and_resumed.checkpoints / "best.pt").exists()
    assert checkpoint.read(killed_and_resumed.checkpoints / "init.pt").position.step == 0


@together
def test_ledger_tells_the_attempts_apart(killed_and_resumed: Run) -> None:
    attempts = ledger.read(killed_and_resumed)
    assert [attempt.start["step"] for attempt in attempts] == [0, 4, 6]
    assert attempts[-1].reason == "done"


@together
@pytest.mark.parametrize("which", ["run", "best"])
def test_evaluate_gives_the_same_accuracy(
    killed_and_resumed: Run, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    run = killed_and_resumed
    path = run.folder if which == "run" else run.checkpoints / "best.pt"
    assert evaluate.main([str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = {line["step"]: line["top1"] for line in jsonl.read(run.metrics) if line["kind"] == "val"}
    assert found["top1"] == expected[found["step"]]
    assert found["samples"] == 50


def test_evaluate_says_what_is_missing(
    tmp_path: Path, few_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([str(tmp_path)]) == 1
    assert "is no run folder" in capsys.readouterr().err
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    assert evaluate.main([str(run.folder)]) == 1
    assert "no checkpoint yet" in capsys.readouterr().err


def fails_with(run: Run, message: str) -> str:
    code, output = train(run, 2)
    assert code == 1
    assert message in output
    said = [line for line in output.splitlines() if message in line]
    assert not any("Error" in line.split(message)[0] for line in said), said
    assert ledger.last(run).reason == "error"
    assert message in ledger.last(run).end["detail"]
    return output


def test_full_disk_ends_the_attempt_and_keeps_what_is_saved(small_disk: Path, few_images: Path) -> None:
    """A real file system of 1 MiB, for checkpoints of 2.5 MiB and more."""
    run = prepare(small_disk / "run", few_images, **CHANGES)
    fails_with(run, "not saved, no space left on device; ")
    assert not run.result.exists()
    assert list(run.checkpoints.iterdir()) == list(run.claims.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=99m", small_disk], check=True)
    assert train(run, 2)[0] == 0


def test_one_attempt_at_a_time(tmp_path: Path, few_images: Path) -> None:
    """Also of workers that somebody starts by hand."""
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    with Lock.take(run.lock) as held:
        held.write(attempt=3, job="17", pid=99, host="n1")
        code, output = train(run, 1)
    assert code == 1
    assert "lock: held by attempt 3 (job 17, process 99 on n1)" in output
    assert not run.attempts.exists()


def test_an_attempt_that_was_passed_over_ends_and_writes_no_more(tmp_path: Path, few_images: Path) -> None:
    run = prepare(tmp_path / "run", few_images, **{**CHANGES, "steps": 10_000})
    process = start(run, 2)
    deadline = time.monotonic() + 60
    while not jsonl.read(run.metrics):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert Claim.take_over(run).number == 2
    before = (run.metrics.read_text(), steps(run.checkpoints), run.attempts.read_text())
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "attempt 1 writes no more, attempt 2 has taken over" in output
    metrics, saved, attempts = before
    assert run.metrics.read_text().count("\n") <= metrics.count("\n") + 1  # one may have been on its way
    assert steps(run.checkpoints) == saved
    assert run.attempts.read_text() == attempts


@together
def test_checkpoint_of_another_run_is_refused(
    tmp_path: Path, few_images: Path, killed_and_resumed: Run
) -> None:
    run = prepare(tmp_path / "run", few_images, **{**CHANGES, "seed": 1})
    run.checkpoints.symlink_to(killed_and_resumed.checkpoints)
    output = fails_with(run, "belongs to another run or other data")
    assert "signature: " in output
    assert "in this run" in output


def test_missing_shards_are_named(tmp_path: Path) -> None:
    run = prepare(tmp_path / "run", tmp_path / "nowhere", **CHANGES)
    fails_with(run, str(tmp_path / "nowhere"))


def with_bad_images(shards: Path, few_images: Path, bad: Collection[int]) -> Path:
    """The same images to validate with, and to train on 40, of which those in `bad` are none."""
    shutil.copytree(few_images, shards)
    for old in [*shards.glob("index-*"), *shards.glob("*-train-*"), shards / "_info.json"]:
        old.unlink()
    with webdataset.ShardWriter(f"{shards}/some-train-%04d.tar", verbose=0) as writer:
        for number in range(40):
            image = b"this is text" if number in bad else np.full((32, 32, 3), number, np.uint8)
            writer.write({"__key__": f"key{number:02d}", "png": image, "cls": number % 10})
    index.main([str(shards)])
    return shards


@pytest.mark.parametrize("workers", [0, 1])
def test_where_nothing_can_be_read_an_image_is_named(tmp_path: Path, few_images: Path, workers: int) -> None:
    """Whether it is found by the training process or by one that decodes for it."""
    shards = with_bad_images(tmp_path / "shards", few_images, range(40))
    run = prepare(tmp_path / "run", shards, **CHANGES, data__workers=workers)
    fails_with(run, "no image that can be read (cannot identify image file)")
    detail = ledger.last(run).end["detail"]
    assert detail.startswith(f"{shards}/some-train-0000.tar: key key")
    assert "begins anew, with fresh=true; what it has saved is evaluated by: python -m dnw.evaluate" in detail


def test_unreadable_images_are_named_once_and_cost_no_bit(tmp_path: Path, few_images: Path) -> None:
    """On two processes, killed on the way, as on one that is left alone."""
    shards = with_bad_images(tmp_path / "shards", few_images, {5, 17})
    changes = {**CHANGES, "data__max_bad": 0.5, "log__digests": True}
    whole, broken = (prepare(tmp_path / name, shards, **changes) for name in ("whole", "broken"))
    assert train(whole, 1)[0] == 0
    code, output = train(broken, 2, "1:step 5")
    assert code != 0
    assert "key05 at byte" in output
    code, output = train(broken, 2)
    assert code == 0, output
    for run in (whole, broken):
        told = [line for line in jsonl.read(run.metrics) if line["kind"] == "replaced"]
        assert sorted(line["key"] for line in told) == ["key05", "key17"]
        assert all(line["shard"] == f"{shards}/some-train-0000.tar" for line in told)
        assert [line["offset"] for line in told] == [
            Index.load(shards, "train").offsets[line["sample"]] for line in told
        ]
    assert digests(broken) == digests(whole)


def test_too_many_unreadable_images_end_the_run(tmp_path: Path, few_images: Path) -> None:
    shards = with_bad_images(tmp_path / "shards", few_images, {5, 17})
    run = prepare(tmp_path / "run", shards, **CHANGES)
    fails_with(run, "data.max_bad=0.001; ")
    assert "python -m shards.verify" in ledger.last(run).end["detail"]


def test_shards_that_lie_elsewhere_give_the_same_bits(tmp_path: Path, few_images: Path) -> None:
    """Fetched by the processes that decode, of both ranks, from a server that is cut off now and then."""
    here = prepare(tmp_path / "here", few_images, **CHANGES, log__digests=True)
    assert train(here, 2)[0] == 0
    with http(few_images) as served:
        for split in ("train", "val"):
            fetch_index(served.url, tmp_path / "index", split)
        served.faults = [(".tar", "cut"), (".tar", "busy")]
        cache = {"data__url": served.url, "data__cache": str(tmp_path / "cache"), "data__cache_gb": 0.01}
        away = prepare(tmp_path / "away", tmp_path / "index", **CHANGES, **cache, log__digests=True)
        code, output = train(away, 2, "0:step 5")
        assert code != 0
        code, output = train(away, 2)
        assert code == 0, output
        assert served.faults == []
        assert {count for name, count in served.asked.items() if name.endswith("val-0000.tar")} == {1}
    assert digests(away) == digests(here)
    assert_same_weights(away, here)


def test_other_shards_are_refused(tmp_path: Path, few_images: Path) -> None:
    frozen = {
        "data__train_fingerprint": "0" * 64,
        "data__val_fingerprint": Index.load(few_images, "val").fingerprint,
    }
    fails_with(
        prepare(tmp_path / "run", few_images, **CHANGES, **frozen), "other shards than this run began with"
    )


def test_worker_runs_without_torchrun(tmp_path: Path, few_images: Path) -> None:
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    done = subprocess.run(
        [sys.executable, "-m", "dnw.train", run.folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ledger.last(run).start["world"] == 1
    assert "step 8/8" in done.stdout
    assert "images/s" in done.stdout
