"""Nothing that a user can type executes a pickle: no loader does, and each entry is tried with one."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from folder_digest import digest
from run_folder import make

from dnw import evaluate, export, import_reference, load
from dnw.profile import __main__ as profile
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from launch import runs
from shards import index, verify, write
from shards.errors import ExpectedError, ShardError

ROOT = Path(__file__).resolve().parents[3]
LOADERS = re.compile(
    r"pickle\.loads?\(|\bUnpickler\(|torch\.load\(|np\.load\(|joblib|shelve|marshal|dill|\bread_pickle"
    r"|yaml\.(?:load|unsafe_load|full_load)\(|\b(?:exec|eval)\("
)
HARMLESS = (
    r"torch\.load\([^\n]*weights_only=True\)",
    r"np\.load\(_rows_file\(folder, split\)|np\.load\([^\n]*mmap_mode=",  # allow_pickle is False unless said
    r"safetensors\.torch\.load\(",
    r"yaml\.load\(text, Loader=_YAML\)",  # the safe loader
    r"_ArrayUnpickler\(",  # admits arrays alone
    r"pickle\.load\(sys\.stdin\.buffer\)\(\)  # noqa: S301  \(from the process around\)",  # a pipe of its own
    r"\.eval\(",  # a module's
)


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.folder,)


def test_no_loader_executes_what_it_reads() -> None:
    found = []
    for folder in ("launch", "dnw", "shards", "hydra_plugins", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                if LOADERS.search(line) and not any(re.search(one, line) for one in HARMLESS):
                    found.append(f"{path.relative_to(ROOT)}: {line.strip()}")
    assert found == []


def harmful(path: Path, harm: Path, kind: str) -> Path:
    """A file that does harm to whoever unpickles it: as it is, of torch, or sealed like a checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Harmful(harm)))
    else:
        torch.save({"model": Harmful(harm)}, path)
    if kind == "sealed":
        content = path.read_bytes()
        path.write_bytes(content + checkpoint._seal(content))
    return path


@pytest.fixture
def run(tmp_path: Path, few_images: Path) -> Run:
    return make(tmp_path / "runs", data__dir=str(few_images))


@pytest.mark.parametrize("kind", ["pickle", "torch", "sealed"])
@pytest.mark.parametrize(
    "entry", ["evaluate", "evaluate a run", "export", "profile", "import", "load", "train", "status"]
)
def test_an_entry_with_a_pickle(run: Run, tmp_path: Path, entry: str, kind: str) -> None:
    harm = tmp_path / "harm"
    path = harmful(step_path(run.checkpoints, 1), harm, kind)
    shutil.copy(path, run.checkpoints / "best.pt")
    shutil.copy(path, run.checkpoints / "init.pt")
    here = digest(tmp_path / "runs")
    entries: dict[str, Callable[[], object]] = {
        "evaluate": lambda: evaluate.main([str(path)]),
        "evaluate a run": lambda: evaluate.main([str(run.folder)]),
        "export": lambda: export.main([str(run.folder), str(tmp_path / "out.safetensors")]),
        "profile": lambda: profile.main([str(run.folder)]),
        "import": lambda: import_reference.main([str(path), "+exp=static_dnw", str(tmp_path / "out.pt")]),
        "load": lambda: load(path),
        "train": lambda: checkpoint.read(path),
        "status": lambda: runs.main(["status", "--runs-dir", str(tmp_path / "runs")]),
    }
    if entry in {"load", "train"}:
        with pytest.raises(ExpectedError):
            entries[entry]()
    else:
        assert (entries[entry]() == 0) == (entry == "status")
    assert not harm.exists()
    assert digest(tmp_path / "runs") == here


def test_rows_of_an_index_and_batches_of_cifar(tmp_path: Path, pets_shards: Path) -> None:
    harm = tmp_path / "harm"
    harmful(pets_shards / "index-train.npy", harm, "pickle")
    with pytest.raises(ShardError, match=r"index-train.npy: missing or damaged"):
        verify.main([str(pets_shards)])
    index.main([str(pets_shards)])
    for name in ("batches.meta", "data_batch_1", "test_batch"):
        harmful(tmp_path / "cifar-10-batches-py" / name, harm, "pickle")
    with pytest.raises(ShardError, match="damaged, or not of CIFAR-10"):
        write.main(["cifar10", str(tmp_path), str(tmp_path / "out")])
    assert not harm.exists()
