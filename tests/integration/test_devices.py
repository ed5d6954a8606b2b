"""Real processes that have not the devices they were launched for: they say so, and nobody waits for ever."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker import prepare, start, train

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run

ROOT = Path(__file__).resolve().parents[2]
# Rank 1 finds a GPU, as far as it knows.
JOIN = """
import os, torch
from dnw.hardware.device import DeviceError
from dnw.training.distributed import join
if os.environ["RANK"] == "1":
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 2
try:
    join(30)
except DeviceError as error:
    os.write(1, f"{error.rank} {error}\\n".encode())
"""


def test_gpus_that_no_process_can_use_end_the_attempt(tmp_path: Path, few_images: Path) -> None:
    run = prepare(tmp_path / "run", few_images, steps=2)
    code, output = train(run, 2, DNW_GPUS="2")
    assert code == 1, output
    assert "Traceback" not in output
    last = ledger.last(run)
    assert (last.reason, last.end["rank"]) == ("error", 0)
    assert last.end["detail"] in output
    assert last.end["detail"].startswith("ranks 0, 1: 2 GPUs a node were asked for, but CUDA can't be used: ")


def test_a_run_without_a_word_names_its_device(tmp_path: Path, few_images: Path) -> None:
    run = prepare(tmp_path / "run", few_images, steps=2)
    code, output = train(run, 1)
    assert code == 0, output
    assert "computing on cpu (" in output


def test_processes_that_differ_are_named_before_they_meet() -> None:
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


def test_a_gpu_fault_counts_as_killed_and_is_tried_again(tmp_path: Path, few_images: Path) -> None:
    """Raised in rank 1; rank 0, whose collective operation breaks, is not to blame."""
    words = [
        *["+exp=static_dnw", "data=fashion_mnist", "optim=medium", "batch=16", "micro_batch=8"],
        "nproc=2",
    ]
    quick = [
        "steps=4",
        "eval_every_epochs=1",
        "log.every_steps=1",
        "data.workers=0",
        "checkpoint.every_steps=1",
    ]
    done = subprocess.run(
        [sys.executable, ROOT / "launch" / "local.py", *words, *quick, f"data.dir={few_images}"],
        env={**os.environ, "DNW_FAULT": "1:step 3:ECC:1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "static_dnw").iterdir()
    first, second = ledger.read(Run(folder))
    assert (first.reason, first.end["rank"], first.end["fault"]) == ("killed", 1, "device")
    assert first.end["node"] == socket.gethostname()
    said = "AcceleratorError: CUDA error: uncorrectable ECC error encountered"
    assert first.end["detail"] == f"GPU fault, rank 1 on {socket.gethostname()}: {said}"
    assert second.reason == "done"


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        ("MEMORY", "error", "rank 1: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
        ("ASSERT", "error", "AcceleratorError: CUDA error: device-side assert triggered"),
        ("NCCL", "killed", "collective operation broken, rank 1 on "),
    ],
)
def test_other_faults_of_a_gpu(
    tmp_path: Path, few_images: Path, fault: str, reason: str, detail: str
) -> None:
    run = prepare(tmp_path / "run", few_images, steps=4)
    code, output = train(run, 2, f"1:step 2:{fault}")
    assert code == 1, output
    ends = [one for one in jsonl.read(run.attempts) if one["event"] == "end"]
    assert (ends[0]["rank"], ends[0]["reason"]) == (1, reason)
    assert ends[0]["detail"].startswith(detail)
    if fault == "MEMORY":
        assert ends[0]["detail"] in output
        assert "OutOfMemoryError" not in output


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def rank_of(agent: int, rank: int) -> int | None:
    """The process of a rank: a child of the fork server, which is the agent's."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"(dnw rank {rank})" in words and parent(parent(int(path.name))) == agent:
            return int(path.name)
    return None


def test_a_killed_peer_ends_one_that_waits_in_a_collective(tmp_path: Path, few_images: Path) -> None:
    """Rank 1 hangs, rank 0 waits for it in gloo; then rank 1 is killed."""
    run = prepare(tmp_path / "run", few_images, steps=9, log__every_steps=1)
    agent = start(run, 2, "1:step 3:HANG")
    try:
        deadline = time.monotonic() + 200
        while not any(line["step"] >= 2 for line in jsonl.read(run.metrics)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(3)  # rank 0 is in step 3 or 4 now, for good
        os.kill(rank_of(agent.pid, 1), signal.SIGKILL)
        began = time.monotonic()
        out, _ = agent.communicate(timeout=60)
        assert time.monotonic() - began < 5, out
        assert agent.returncode == 128 + signal.SIGKILL
    finally:
        agent.kill()
        agent.communicate()
