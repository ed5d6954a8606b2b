from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnw.runs.folder import step_path, steps
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, CheckpointError, Identity, Position

OURS = Identity("static_dnw", "0123456789", "train-a", "val-a")


def made(step: int = 7) -> Checkpoint:
    return Checkpoint(
        identity=OURS,
        position=Position(step=step, consumed=step * 32, best_top1=50.0, world=2),
        model={"weight": torch.arange(6.0).reshape(2, 3)},
        optimizer={
            "state": {0: {"momentum_buffer": torch.ones(2, 3)}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        meter=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
        masks={"graph": torch.tensor([True, False])},
    )


def save(folder: Path, step: int) -> Path:
    path = step_path(folder, step)
    checkpoint.write(path, checkpoint.encode(made(step)))
    return path


def test_comes_back_whole(tmp_path: Path) -> None:
    found = checkpoint.read(save(tmp_path, 7))
    assert found.position == made().position
    assert found.identity == OURS
    assert torch.equal(found.model["weight"], made().model["weight"])
    assert torch.equal(found.masks["graph"], made().masks["graph"])
    assert torch.equal(found.optimizer["state"][0]["momentum_buffer"], torch.ones(2, 3))


def test_torch_reads_it_as_it_is(tmp_path: Path) -> None:
    values = torch.load(save(tmp_path, 7), weights_only=True)
    assert torch.equal(values["model"]["weight"], made().model["weight"])


def test_same_state_gives_same_bytes() -> None:
    assert checkpoint.encode(made()) == checkpoint.encode(made())


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other digest", "-1", "-20", "-39", "-40", "-41"])
def test_damaged_newest_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    save(tmp_path, 4)
    path = save(tmp_path, 8)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage.startswith("-"):  # so many bytes of its end, where the seal is
        path.write_bytes(content[: int(damage)])
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = checkpoint.newest(tmp_path, OURS)
    assert found is not None
    assert found.position.step == 4
    assert "step-00000008.pt" in caplog.text
    assert "going back to the one before" in caplog.text
    assert steps(tmp_path) == [4]


def test_none_whole_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, 4).write_bytes(b"nothing")
    assert checkpoint.newest(tmp_path, OURS) is None
    assert "begins again at step 0" in caplog.text
    assert (tmp_path / "step-00000004.pt.damaged").exists()


def test_other_run_is_refused_with_both_sides(tmp_path: Path) -> None:
    save(tmp_path, 7)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.newest(tmp_path, dataclasses.replace(OURS, signature="abc", train_fingerprint="train-b"))
    text = str(refused.value)
    assert "signature: 0123456789 in the checkpoint, abc in this run" in text
    assert "train_fingerprint: train-a in the checkpoint, train-b in this run" in text
    assert "fresh=true" in text


def test_foreign_pickle_is_never_run(tmp_path: Path) -> None:
    path = step_path(tmp_path, 1)
    buffer = io.BytesIO()
    torch.save({"evil": Path("/")}, buffer)
    checkpoint.write(path, buffer.getvalue())
    with pytest.raises(CheckpointError, match="no checkpoint of this project"):
        checkpoint.read(path)


def test_another_version_is_refused_not_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, 7)
    monkeypatch.setattr(checkpoint, "VERSION", 3)
    with pytest.raises(CheckpointError, match="this code reads version 3"):
        checkpoint.newest(tmp_path, OURS)
    assert path.exists()


def test_nothing_saved_is_nothing(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "missing", OURS) is None


def test_keeps_the_last_and_named_ones(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    checkpoint.write(tmp_path / "best.pt", checkpoint.encode(made(2)))
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pt",
        "step-00000004.pt",
        "step-00000005.pt",
    ]


def test_full_disk_leaves_what_was_there(small_disk: Path) -> None:
    """On a real file system of 1 MiB."""
    first = save(small_disk, 1)
    before = first.read_bytes()
    large = dataclasses.replace(made(2), model={"weight": torch.zeros(2**20)})
    with pytest.raises(CheckpointError) as refused:
        checkpoint.write(step_path(small_disk, 2), checkpoint.encode(large))
    assert "no space left on device; 4.0 MiB are needed" in str(refused.value)
    assert first.read_bytes() == before
    assert len(list(small_disk.iterdir())) == 1


@pytest.mark.parametrize("existing", [False, True])
def test_killed_while_it_saves_nothing_is_half_saved(tmp_path: Path, existing: bool) -> None:
    """Also where a checkpoint of that step, with other content, is there already."""
    save(tmp_path, 4)
    if existing:
        save(tmp_path, 8)
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path; import test_checkpoint as t; "
        "encoded = t.checkpoint.encode(t.made(9)); folder = Path(sys.argv[1]); "
        "t.checkpoint.write(t.step_path(folder, 8), encoded)"
    )
    here = Path(__file__).parent
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(here)],
        env={**os.environ, "DNW_FAULT": "0:save step-00000008.pt", "PYTHONPATH": str(here.parents[3])},
        check=False,
    )
    assert killed.returncode == -9
    found = checkpoint.newest(tmp_path, OURS)
    assert found is not None
    assert found.position.step == (8 if existing else 4)
