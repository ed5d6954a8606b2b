"""A run whose workers do nothing but end, in all the ways there are."""

from __future__ import annotations

import shutil
from pathlib import Path

from example import train

from dnw.config import dump
from dnw.runs.folder import Run

ROOT = Path(__file__).resolve().parents[1]
# Stands for dnw.train: starts, then does what $ACT says. Saving takes it $SAVING seconds.
WORKER = """
import ctypes, gc, json, multiprocessing, os, signal, sys, threading, time
from pathlib import Path
from dnw.preemption import die_with_parent

if os.environ["ACT"] == "no driver":  # imported by the agent, before it asks CUDA for anything
    import torch
    from dnw.hardware import device
    device.ANSWERS_WITHIN_S = 0.2
    torch.cuda.is_available = lambda: time.sleep(600)

def save(stop, run):
    with stop.saving:
        time.sleep(6)
        (run / "saved").touch()

def main(arguments, stop):
    die_with_parent()
    run, rank, act = Path(arguments[0]), int(os.environ["RANK"]), os.environ["ACT"]
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: asked.append(number))

    def record(always=False, **facts):
        if always or rank == 0:
            with (run / "attempts.jsonl").open("a") as file:
                print(json.dumps({"time": 0, "attempt": int(os.environ["DNW_ATTEMPT"]), **facts}), file=file)

    record(event="start", step=0, world=int(os.environ["WORLD_SIZE"]))
    os.write(1, f"worker {rank} {__file__} {os.environ['OMP_NUM_THREADS']}\\n".encode())  # in one piece
    (run / f"loaders-{rank}").write_text(multiprocessing.get_start_method())
    (run / f"collects-{rank}").write_text(json.dumps([gc.isenabled(), gc.get_freeze_count()]))
    (run / f"pid-{rank}").write_text(str(os.getpid()))
    if act == "fail" and rank == 1:
        record(True, event="end", reason="error", detail="it went wrong")
        sys.exit("it went wrong")
    if act == "vanish" and rank == 1:
        os._exit(3)
    if act in {"killed", "stuck", "saving"} and rank == 1:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "memory" and rank == 1:
        Path("/proc/self/oom_score_adj").write_text("1000")
        bytearray(b"x") * (4 << 30)
    if act == "hung" and rank == 1:
        os._exit(70)
    if act == "saving":
        threading.Thread(target=save, args=(stop, run), daemon=True).start()
    if act in {"stuck", "saving"}:
        mutex = ctypes.create_string_buffer(64)
        while True:  # waits in C for what never comes, whatever signal does
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
    while act != "finish" and (not asked or act == "deaf"):
        time.sleep(0.02)
    end = time.monotonic() + float(os.environ.get("SAVING", "0"))
    while time.monotonic() < end:
        time.sleep(0.02)
    if act == "finish":
        record(event="end", reason="done")
        (run / "result.json").write_text("{}")
        return 0
    (run / f"asked-{rank}").write_text(str(asked))
    record(event="end", reason="stopped", signals=len(asked))
    return 75
"""


def a_run(folder: Path) -> Run:
    """A run folder whose code has the stand-in for the worker."""
    run = Run(folder / "example" / "default-0123456789")
    shutil.copytree(ROOT / "launch", run.code / "launch", ignore=shutil.ignore_patterns("__pycache__"))
    (run.code / "dnw").mkdir()
    (run.code / "dnw" / "__init__.py").write_text("")
    (run.code / "dnw" / "train.py").write_text(WORKER)
    for name in ("training", "hardware"):
        (run.code / "dnw" / name).mkdir()
    for name in ("preemption.py", "training/watchdog.py", "hardware/device.py"):
        shutil.copy(ROOT / "dnw" / name, run.code / "dnw" / name)
    run.config.write_text(dump(train(threads=2)))
    return run
