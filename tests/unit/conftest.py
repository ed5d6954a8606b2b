import copy
import importlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.hydra import Hydra
from hydra.plugins.config_source import ConfigResult
from login_node import Typed, commands, typing
from PIL import Image

from shards import write

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="session", autouse=True)
def hydra_reads_once() -> Iterator[None]:
    """Parse a file once for the thousands of lines that are composed here, and compose a line once.

    Hydra composes each twice, first only to look for hydra.mode: commands in processes of their own still do.
    """
    read, mode = FileConfigSource.load_config, Hydra.get_mode
    known: dict[tuple[str, int], ConfigResult] = {}

    def load_config(source: FileConfigSource, config_path: str) -> ConfigResult:
        path = Path(source.path, source._normalize_file_name(config_path))
        if not path.is_file():
            return read(source, config_path)
        key = (str(path), path.stat().st_mtime_ns)
        if key not in known:
            known[key] = read(source, config_path)
        return copy.deepcopy(known[key])  # Hydra takes `defaults` out of it

    def get_mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        return mode(hydra, config_name, overrides) if "hydra.mode" in "".join(overrides) else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", load_config)
        patch.setattr(Hydra, "get_mode", get_mode)
        yield


@pytest.fixture(autouse=True)
def log_of_this_test() -> Iterator[None]:
    """Hydra's --info, say, has everything logged from then on, to a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(level)


@pytest.fixture(scope="session")
def launch_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 10 classes with one image of 8 px each: enough to launch on, not to learn from."""
    base = tmp_path_factory.mktemp("tiny")
    for split in ("train", "val"):
        for number in range(10):
            folder = base / "images" / split / f"class{number}"
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / "image.png")
    write.main(["imagefolder", str(base / "images"), str(base / "shards")])
    return base / "shards"


@pytest.fixture
def accepted() -> Callable[[str, str], None]:
    """Compare a text with the accepted one of a name; ACCEPT=1 accepts it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("ACCEPT") == "1":
            path.write_text(text)
        if not path.exists() or path.read_text() != text:
            shown = path.read_text() if path.exists() else ""
            assert text == shown, (
                f"{path} is not this text; if it should be, run the test again with ACCEPT=1"
            )

    return compare


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for Slurm's commands, in PATH, and what they are given."""
    return commands(tmp_path, monkeypatch)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launch_shards: Path, lab: Path) -> Typed:
    """Types the submit command on that login node."""
    return typing(monkeypatch, tmp_path, launch_shards)


@pytest.fixture
def nan_where_memory_is_new() -> Iterator[None]:
    """Have torch fill the memory that it allocates, so that what reads it unwritten shows."""
    torch = importlib.import_module("torch")  # which most tests here don't need
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
