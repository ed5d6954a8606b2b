"""`python -m dnw.evaluate` on a run folder."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from folder_digest import digest
from run_folder import make
from saved_step import save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import dnw
from dnw import export, models
from dnw.config import load
from dnw.evaluate import main
from dnw.profile import __main__ as profile_command
from dnw.profile import profile
from dnw.runs import class_names
from dnw.runs.folder import Run, step_path
from dnw.training import faults
from dnw.training.checkpoint import CheckpointError
from dnw.training.checkpointed_model import load_checkpointed_model
from shards import index


@pytest.fixture
def run(tmp_path: Path, few_images: Path) -> Run:
    run = make(tmp_path, data__dir=str(few_images), data__eval_size=40)
    for step in (1, 2, 3):
        save(run, step)
    return run


def test_accuracy_speed_and_cost(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run.folder), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    costs = profile(models.build(load(run.config)), 40)
    assert (found["step"], found["samples"]) == (3, 50)
    assert (found["params"], found["macs"]) == (costs.params, costs.macs)
    assert found["images_per_second"] > 0
    assert 0 <= found["top1"] <= found["top5"] <= 100
    assert main([str(run.folder)]) == 0
    text = capsys.readouterr().out
    assert f"at step 3: top-1 {found['top1']:.2f} %, top-5 {found['top5']:.2f} %" in text
    assert f"{costs.macs:,} multiply-adds per image of 40 px" in text


def test_one_checkpoint_of_a_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(step_path(run.checkpoints, 2)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2


def test_data_may_lie_elsewhere(tmp_path: Path, few_images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path, data__dir=str(tmp_path / "nowhere"), data__url="http://127.0.0.1:9/none")
    save(run, 1)
    save(run, 1)
    assert main([str(run.folder), "--data", str(few_images)]) == 0
    shutil.rmtree(run.folder)
    run = make(tmp_path, data__dir=str(tmp_path / "nowhere"))
    save(run, 1)
    assert main([str(run.folder)]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_other_images_than_the_run_began_with(
    tmp_path: Path, few_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path, data__dir=str(few_images), data__val_fingerprint="0" * 64)
    save(run, 1)
    assert main([str(run.folder)]) == 1
    assert "fresh=true; python -m dnw.evaluate --data FOLDER takes others" in capsys.readouterr().err
    assert main([str(run.folder), "--data", str(few_images)]) == 0
    said = f"{few_images}: its validation split is another than that of the run: 50 images\n"
    assert said in capsys.readouterr().err


def test_nothing_to_evaluate(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for path in run.checkpoints.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no whole checkpoint; all 3 are damaged"):
        load_checkpointed_model(run.folder)
    empty = make(tmp_path, name="empty")
    for path, message in [
        (empty.folder, "no checkpoint yet; let the run make progress first"),
        (tmp_path / "none", "none: no such run folder or checkpoint"),
        (tmp_path, "so "),
    ]:
        assert main([str(path)]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dense", "compact", "csr", "native"])
def test_engines_find_the_same_accuracy(run: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([str(run.folder), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([str(run.folder), f"engine={name}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] == name
    assert found["top1"] == plain["top1"]
    assert found["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    assert set(found["ms_per_image"]) == {"1", "32"}
    assert all(ms > 0 for ms in found["ms_per_image"].values())
    assert found["peak_memory_mib"] > 10


def test_an_engine_in_bf16(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        assert main([str(run.folder), "engine=native", f"precision={precision}", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["precision"] == precision
        losses.append(found["loss"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("precision=bf16", "precision= is an engine's: add engine=native"),
        ("precision=int8", "no precision 'int8'; there are: fp32, bf16"),
        ("engine=fast", "no 'fast'; there are: dense, compact, csr"),
        ("native", "write it as engine=native"),
        ("nproc=2", "'nproc=2': only engine=NAME, precision=bf16 and weights=ema can be chosen"),
    ],
)
def test_no_such_engine(run: Run, capsys: pytest.CaptureFixture[str], word: str, said: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(run.folder), word])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("is_file", [False, True], ids=["run", "checkpoint"])
@pytest.mark.parametrize(
    "command", [main, export.main, profile_command.main], ids=["evaluate", "export", "profile"]
)
def test_a_checkpoint_of_another_width(
    run: Run,
    tmp_path: Path,
    few_images: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
    is_file: bool,
) -> None:
    """It fits: a width chooses edges of the same weights."""
    other = make(tmp_path / "other", width=0.1, data__dir=str(few_images))
    shutil.copy(save(other, 9), run.checkpoints)
    before = digest(run.folder)
    path = step_path(run.checkpoints, 9) if is_file else run.folder
    assert command([str(path), *([str(tmp_path / "out.onnx")] if command is export.main else [])]) != 0
    out, err = capsys.readouterr()
    assert "step-00000009.pt: belongs to another run" in err
    assert not out
    assert digest(run.folder) == before


@pytest.mark.parametrize("command", [main, export.main], ids=["evaluate", "export"])
def test_images_of_other_classes(
    run: Run,
    tmp_path: Path,
    pets_shards: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
) -> None:
    """Named by --data: the launcher refuses them, too."""
    out = [str(tmp_path / "out.safetensors")] if command is export.main else []
    assert command([str(run.folder), *out, "--data", str(pets_shards)]) == 1
    assert "data.classes: 10, but the" in (err := capsys.readouterr().err)
    assert f"split in {pets_shards} has 2 classes" in err
    assert not any(Path(path).exists() for path in out)


@pytest.mark.parametrize("is_file", [False, True], ids=["run", "checkpoint"])
@pytest.mark.parametrize("command", [main, export.main], ids=["evaluate", "export"])
def test_images_whose_classes_stand_in_another_order(
    tmp_path: Path,
    few_images: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
    is_file: bool,
) -> None:
    """Their accuracy would be that of chance, and a file's names those of other classes."""
    shards = shutil.copytree(few_images, tmp_path / "images")
    run = make(tmp_path, data__dir=str(shards))
    names = tuple("abcdefghij")
    path = save(run, 1, names) if is_file else run.folder
    if not is_file:  # of an earlier version, without names
        save(run, 1)
        class_names.write(run, names)
    (tmp_path / "names").write_text("\n".join("abdcefghij"))
    index.main([str(shards), "--workers=1", "--classes", str(tmp_path / "names")])
    out = [str(tmp_path / "out.safetensors")] if command is export.main else []
    words = [str(path), *out, "--data", str(shards)]
    assert command(words) == 1
    assert "the run have the same classes in another order: class 2 is 'd' and 'c': name the shards" in (
        err := capsys.readouterr().err
    ), err
    assert not any(Path(path).exists() for path in out)
    (tmp_path / "names").write_text("\n".join(names))
    index.main([str(shards), "--workers=1", "--classes", str(tmp_path / "names")])
    assert command(words) == 0
    assert "classes:" not in capsys.readouterr().err
    if out:
        assert dnw.load(out[0], engine="csr").card.class_names == names


def test_classes_without_names(run: Run, few_images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run.folder)]) == 0
    said = f"classes: their number alone was compared, 10; the shards in {few_images} don't name them\n"
    assert capsys.readouterr().err == said


@contextlib.contextmanager
def memory_for(images: int) -> Iterator[None]:
    """Fail as torch does on a GPU that has memory for so many images at once."""

    def check(_: nn.Module, given: tuple[Any, ...]) -> None:
        is_images = given and isinstance(given[0], Tensor) and given[0].shape[1:] == (3, 40, 40)
        if is_images and len(given[0]) > images:
            raise faults.RAISED["MEMORY"]()

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def test_too_little_memory_for_a_batch(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with memory_for(12):
        assert main([str(run.folder)]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("CUDA out of memory. Tried to allocate 2.00 GiB.")
        assert said.endswith("; try --batch 128 (now 256)")
        assert main([str(run.folder), "--batch", "25"]) == 1
        assert "; try --batch 5 (now 25)" in capsys.readouterr().err
        assert main([str(run.folder), "--batch", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 50
    assert set(found["ms_per_image"]) == {"1", "5"}


def test_too_little_memory_for_one_image(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with memory_for(0):
        assert main([str(run.folder), "--batch", "1"]) == 1
    assert capsys.readouterr().err.endswith("is free; try a machine with more memory\n")


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "auto"])
def test_no_such_batch(run: Run, capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(run.folder), "--batch", word])
    assert "must be a whole number, 1 or more" in capsys.readouterr().err
