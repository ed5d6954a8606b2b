"""Ctrl-C, and outputs that go away: the real commands as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from folder_digest import digest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"slurm": "launch/slurm.py", "local": "launch/local.py", "runs": "launch/runs.py"}
TRAINED = "+exp=demo_dnw data.dir=SHARDS steps=4 batch=40 micro_batch=40 log.every_steps=1 data.workers=0"

# a line, and a library that its process has mapped once it is importing
INTERRUPTED = [
    ("slurm +exp=demo_dnw data.dir=SHARDS dry_run=true", "pydantic_core"),
    ("local +exp=demo_dnw data.dir=SHARDS", "pydantic_core"),
    ("runs status --runs-dir SHARDS", "pydantic_core"),
    ("shards.verify SHARDS", "numpy"),
    ("shards.index SHARDS", "numpy"),
    ("shards.write imagefolder nowhere out", "numpy"),
    ("dnw.evaluate run", "libtorch"),
    ("dnw.export run out.safetensors", "libtorch"),
    ("dnw.profile +exp=demo_dnw", "libtorch"),
    ("dnw.import_reference x.pt +exp=demo_dnw out.pt", "libtorch"),
    ("dnw.train run", "libtorch"),
]
PRINTING = [
    "slurm --help",
    "local --help",
    "runs --help",
    "runs status --runs-dir SHARDS",
    "shards.write --help",
    "shards.verify --help",
    "dnw.profile +exp=demo_dnw",
]


@pytest.fixture
def here(tmp_path: Path, few_images: Path) -> Path:
    """A folder to type in."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "SHARDS").symlink_to(few_images)
    return folder


def typed(here: Path, line: str, out: int | IO[bytes], closed: int | None = None) -> subprocess.Popen[bytes]:
    name, *words = line.split()
    script = [str(ROOT / SCRIPTS[name])] if name in SCRIPTS else ["-m", name]

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if closed is not None:
            os.close(closed)

    return subprocess.Popen(
        [sys.executable, *script, *words],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
        stdout=out,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509  (no threads here)
    )


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize(("line", "library"), INTERRUPTED, ids=[line for line, _ in INTERRUPTED])
def test_ctrl_c_is_one_line(here: Path, line: str, library: str) -> None:
    before = digest(here)
    with typed(here, line, subprocess.DEVNULL) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: library in maps.read_text())
        for _ in range(2):  # a key that bounces
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.03)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, len(err.splitlines())) == (130, 1), err
    assert b"stopped by Ctrl-C" in err
    assert digest(here) == before


@pytest.mark.parametrize("line", PRINTING)
@pytest.mark.parametrize("way", ["full", "closed", "unread"])
def test_an_output_that_cannot_be_written(here: Path, line: str, way: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with Path("/dev/full").open("wb") as full, os.fdopen(write, "wb") as unread:
        output = {"full": full, "closed": full, "unread": unread}[way]
        process = typed(here, line, output, closed=1 if way == "closed" else None)
        _, err = process.communicate(timeout=240)
    expected = {"full": (1, b"stdout: No space left on device\n"), "closed": (0, b""), "unread": (141, b"")}
    assert (process.returncode, err) == expected[way]


def test_an_input_that_is_closed(here: Path) -> None:
    (here / "runs" / "example" / "default-0123456789.old-20260101-000000-000").mkdir(parents=True)
    process = typed(here, "runs clean", subprocess.PIPE, closed=0)
    out, err = process.communicate(timeout=240)
    assert b"default-0123456789.old" in out
    assert (process.returncode, b"Traceback" in err) == (1, False), err
    assert err.splitlines()[-1].startswith(b"nothing deleted: no terminal to ask on; ")


def test_a_training_that_nobody_reads(here: Path) -> None:
    with typed(here, f"local {TRAINED}", subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any(line.startswith(b"run ") for line in process.stdout)  # after notes
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read().decode()
    assert process.returncode == 0, err
    assert list(here.glob("runs/demo_dnw/*/result.json"))
    assert "Logging error" not in err
    assert "Traceback" not in err
    assert err.count("stdout: Broken pipe; going on without it") == 1, err
