"""Real processes that have not the devices they were launched for: they say so, and nobody waits for ever."""

import os
import subprocess
import sys
from pathlib import Path

from worker import prepare, train

from dnw import ledger

ROOT = Path(__file__).resolve().parents[2]
# Rank 1 finds a GPU, as far as it knows.
JOIN = """
import os, torch
from dnw.device import DeviceError
from dnw.distributed import join
if os.environ["RANK"] == "1":
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 2
try:
    join(30)
except DeviceError as error:
    os.write(1, f"{error.rank} {error}\\n".encode())
"""


def test_gpus_that_no_process_can_use_end_the_attempt(tmp_path, few_images):
    run = prepare(tmp_path / "run", few_images, steps=2)
    code, output = train(run, 2, DNW_GPUS="2")
    assert code == 1, output
    assert "Traceback" not in output
    last = ledger.last(run)
    assert (last.reason, last.end["rank"]) == ("error", 0)
    assert last.end["detail"] in output
    assert last.end["detail"].startswith("ranks 0, 1: 2 GPUs a node were asked for, but CUDA can't be used: ")


def test_a_run_without_a_word_names_its_device(tmp_path, few_images):
    run = prepare(tmp_path / "run", few_images, steps=2)
    code, output = train(run, 1)
    assert code == 0, output
    assert "computing on cpu (" in output


def test_processes_that_differ_are_named_before_they_meet():
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    done = subprocess.run(
        [sys.executable, *words, sys.executable, "-c", JOIN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert line.startswith("0 not all processes have the same kind of device (rank 0: cpu, rank 1: cuda)")
