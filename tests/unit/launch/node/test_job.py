"""One attempt, with the real torchrun and workers that do nothing but end in all the ways there are."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from example import train as example
from stand_in_worker import WORKER, a_run

from dnw.preemption import PEER_FAILED
from dnw.runs import frozen_code, ledger, lock
from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from launch.node import fork_server
from launch.node.job import Job
from launch.node.topology import LOOPBACK, Node
from shards.terminal import ONE_PRESS_S

ROOT = Path(__file__).resolve().parents[4]
Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return a_run(tmp_path)


@pytest.fixture
def start(run: Run) -> Iterator[Started]:
    """Starts a job in a process of its own, in the foreground unless said otherwise."""
    started = []

    def begin(
        act: str = "wait", saving_s: float = 0, grace_s: int = 20, foreground: bool = True, nproc: int = 2
    ) -> subprocess.Popen[str]:
        job = f"Job(Path({str(run.folder)!r}), 1, {nproc}, {grace_s}, foreground={foreground})"
        code = f"from pathlib import Path; from launch.node.job import Job; {job}()"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(ROOT), "ACT": act, "SAVING": str(saving_s)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(there: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def working(run: Run) -> Callable[[], bool]:
    return lambda: all(_text(run.folder / f"pid-{rank}") for rank in range(2))


def _text(file: Path) -> str:
    """What a file holds; nothing where there is none, or where it has only just been made."""
    return file.read_text() if file.exists() else ""


def workers(run: Run) -> list[int]:
    return [int((run.folder / f"pid-{rank}").read_text()) for rank in range(2)]


def live(processes: list[int]) -> bool:
    return any(Path("/proc", str(process)).exists() for process in processes)


def test_done(run: Run, start: Started) -> None:
    process = start("finish")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert f"worker 0 {run.code}/dnw/train.py 2" in out  # the frozen code, and the frozen number of threads
    assert [attempt.reason for attempt in ledger.read(run)] == ["done"]
    assert lock.holder(run.lock) is None
    again = start("fail")  # a finished run is not touched again
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert len(ledger.read(run)) == 1


@pytest.mark.parametrize(("given", "nproc", "is_told"), [("4", 2, True), ("2", 2, False), ("", 2, False)])
def test_idle_gpus_of_a_node_are_told(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
    nproc: int,
    is_told: bool,
) -> None:
    """Whichever way they were asked for: what Slurm has given counts."""
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", given)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    node = Node(1, 2, "n1", "7", 0, ("n1", "n2"), in_slurm=True)
    Job(run.folder, 2, nproc, 20)._tell_idle(node)
    told = "2 of 4 GPUs of n2 stay idle: nproc=2; leave nproc out\n"
    assert capsys.readouterr().err == (told if is_told else "")


def test_damaged_code_ends_the_run_in_one_line(run: Run, start: Started) -> None:
    packed = frozen_code.pack({"files": {"dnw/a.py": "0" * 64}}, {"dnw/a.py": (b"a = 1", 0o644)})
    shutil.rmtree(run.code)
    run.code.write_bytes(packed)
    process = start("finish", foreground=False)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1, out
    (attempt,) = ledger.read(run)
    assert attempt.end is not None
    told = f"{run.code}: dnw/a.py is not what was frozen; {frozen_code.REMEDY}"
    assert (attempt.reason, attempt.end["detail"]) == ("error", told)
    assert out.splitlines().count(told) == 1
    assert "Traceback" not in out


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1", "USR2", "HUP"])
def test_stopped_on_request(run: Run, start: Started, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    process = start()
    until(working(run))
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out
    assert f"attempt 1 stopped on request ({number.name}); the same command resumes it" in out
    assert "Traceback" not in out
    assert "SIGKILL" not in out
    (attempt,) = ledger.read(run)
    assert attempt.reason == "stopped"


def test_signals_that_go_on_cut_no_saving_short(run: Run, start: Started) -> None:
    """A cluster sends several, to every process of the job."""
    process = start(saving_s=3)
    until(working(run))
    agent = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
        process.send_signal(number)
        os.kill(agent, number)
        time.sleep(0.3)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out
    assert ledger.read(run)[0].reason == "stopped"


def test_stopped_before_there_was_anything_to_save(run: Run, start: Started) -> None:
    process = start()
    until(lambda: bool(lock.read(run.lock)))
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out
    assert "Traceback" not in out
    assert ledger.read(run)[0].reason == "stopped"


# Makes every question to CUDA do what it does in a CUDA build: children forked from then on can't use it.
POISON = """
import os, torch.cuda
asked, in_bad_fork = [], []

def poisoned(name, real):
    def ask(*given, **named):
        asked.append(name)
        return real(*given, **named)
    return ask

for name in ("is_available", "device_count", "_device_count_nvml", "_lazy_init", "init", "_nvml_based_avail"):
    setattr(torch.cuda, name, poisoned(name, getattr(torch.cuda, name)))
os.register_at_fork(after_in_child=lambda: in_bad_fork.extend(asked))
"""


def test_workers_are_forked_before_anything_asks_for_cuda(run: Run, start: Started) -> None:
    (run.code / "sitecustomize.py").write_text(POISON)
    source = run.code / "dnw" / "train.py"
    tell = "    (run / f'asked-{rank}').write_text(str(sitecustomize.in_bad_fork))\n    record(event"
    source.write_text("import sitecustomize\n" + WORKER.replace("    record(event", tell, 1))
    process = start("finish")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert [(run.folder / f"asked-{rank}").read_text() for rank in range(2)] == ["[]", "[]"]


def test_importing_the_worker_asks_nothing_of_cuda() -> None:
    command = [sys.executable, "-c", f"{POISON}\nimport dnw.train\nprint(asked)"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout == "[]\n"


def test_workers_are_forked_from_a_process_without_threads(run: Run, start: Started) -> None:
    """Locks that other threads hold would stay locked in them; the agent has threads."""

    def status(process: int) -> dict[str, str]:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    process = start()
    until(working(run))
    (server,) = {int(status(worker)["PPid"]) for worker in workers(run)}
    assert status(server)["Name"] == fork_server.NAME
    assert status(server)["Threads"] == "1"
    assert {file.read_text() for file in run.folder.glob("loaders-*")} == {"fork"}  # from the worker itself
    for file in run.folder.glob("collects-*"):
        collects, left_alone = json.loads(file.read_text())
        assert collects
        assert left_alone > 100_000  # what torch has made as it was imported
    agent = int(status(server)["PPid"])
    assert int(status(agent)["Threads"]) > 1
    ending = [server, *workers(run)]
    os.kill(agent, signal.SIGKILL)
    until(lambda: not live(ending))
    process.terminate()  # the next attempt
    process.communicate(timeout=60)


def test_workers_that_do_not_stop_are_killed_in_the_end(run: Run, start: Started) -> None:
    process = start("deaf", grace_s=1)
    until(working(run))
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "attempt 1 failed (killed): not saved in the time granted after SIGTERM" in out
    assert not live(workers(run))


def test_a_second_ctrl_c_kills(run: Run, start: Started) -> None:
    process = start("deaf", grace_s=600)
    until(working(run))
    process.send_signal(signal.SIGINT)
    time.sleep(ONE_PRESS_S + 0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert ledger.read(run)[0].reason == "killed"


def test_a_failed_worker_has_its_say(run: Run, start: Started) -> None:
    process = start("fail", foreground=False)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    log = run.log(1, 0)
    assert "it went wrong" in log.read_text()
    assert "attempt 1 failed (error): it went wrong" in out, out
    assert "  worker of rank 1" in out  # the last lines of the log
    assert f"the whole log: {log}" in out
    assert ledger.read(run)[0].reason == "error"


def test_a_driver_that_hangs_makes_the_node_unfit(run: Run, start: Started) -> None:
    """torchrun's own question to CUDA has no time limit, and no worker with a watchdog is there yet."""
    out, _ = start("no driver", foreground=False).communicate(timeout=60)
    (attempt,) = ledger.read(run)
    assert attempt.reason == "unfit", out
    assert "no answer of the GPU within 0.2 s: its driver hangs" in attempt.end["detail"]


def test_a_worker_that_ends_without_a_word(run: Run, start: Started) -> None:
    process = start("vanish", foreground=False)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "attempt 1 failed (error): worker of rank 1" in out, out
    assert "ended with exit code 3" in out


def test_a_worker_that_was_asked_to_stop_stops_them_all(run: Run, start: Started) -> None:
    process = start()
    until(working(run))
    os.kill(int((run.folder / "pid-1").read_text()), signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert ledger.read(run)[0].reason == "stopped"


def test_a_killed_worker(run: Run, start: Started) -> None:
    process = start("killed")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was killed by SIGKILL" in out
    assert ledger.read(run)[0].reason == "killed"


def seconds_to_the_end(run: Run, process: subprocess.Popen[str]) -> float:
    """Of the first attempt."""
    until(working(run))
    began = time.monotonic()
    until(lambda: ledger.read(run)[0].end is not None, timeout_s=100)
    took = time.monotonic() - began
    process.communicate(timeout=100)  # of a second attempt
    return took


def test_a_killed_worker_ends_one_that_waits_for_it_in_c_code(run: Run, start: Started) -> None:
    """As NCCL does; torchrun by itself would give it 30 seconds. The other one dies after a second."""
    assert seconds_to_the_end(run, start("stuck")) < 8
    assert ledger.read(run)[0].reason == "killed"


def test_a_checkpoint_on_its_way_to_the_disk_gets_there(run: Run, start: Started) -> None:
    assert 5 < seconds_to_the_end(run, start("saving")) < 25
    assert (run.folder / "saved").exists()


def test_after_a_hang_the_others_may_print_their_stacks(run: Run, start: Started) -> None:
    process = start("hung")
    process.communicate(timeout=60)
    assert (run.folder / "asked-0").read_text() == f"[{int(signal.SIGTERM)}]"


def test_a_worker_of_another_node_has_failed(run: Run, start: Started) -> None:
    process = start("deaf", grace_s=100)
    until(working(run))
    agent = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    began = time.monotonic()
    os.kill(agent, PEER_FAILED)
    out, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert "a worker of another node has failed: ended those of this one" in out
    assert "Traceback" not in out
    assert process.returncode == 1


def test_a_killed_job_takes_its_workers_along_once_they_have_saved(run: Run, start: Started) -> None:
    process = start(saving_s=1)
    until(working(run))
    process.kill()
    process.wait()
    assert lock.holder(run.lock) is not None  # nobody may begin while they save
    until(lambda: lock.holder(run.lock) is None, timeout_s=20)
    assert ledger.read(run)[0].reason == "stopped"
    assert not live(workers(run))


def test_one_attempt_at_a_time(run: Run, start: Started) -> None:
    first = start()
    until(working(run))
    second = start()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 73
    assert f"held by attempt 1 (job {first.pid}, process {first.pid} on " in out
    first.terminate()
    first.communicate(timeout=60)
    assert len(ledger.read(run)) == 1


def test_attempts_are_counted_on(run: Run, start: Started) -> None:
    with run.attempts.open("w") as file:
        print(json.dumps({"attempt": 4, "event": "start", "time": 0}), file=file)
    process = start("fail", foreground=False)
    process.communicate(timeout=60)
    assert [attempt.number for attempt in ledger.read(run)] == [4, 5]
    assert run.log(5, 0).exists()


def test_a_worker_that_takes_too_much_memory(
    start: Started, run: Run, cgroup: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills it, in a cgroup as a step of a Slurm job has one, and its end says so."""
    group = cgroup(2048)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "2048")
    job = start("memory")
    (group / "cgroup.procs").write_text(str(job.pid))
    job.wait(timeout=240)
    ended = ledger.read(run)[0].end
    assert ended is not None
    assert (ended["reason"], ended.get("node")) == ("killed", None)
    assert ended["detail"].startswith("out of memory on ")
    assert "the job's limit is 2,048 MB; raise cluster.mem_gb" in ended["detail"]


def test_fetched_shards_outlive_the_attempt(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All jobs of a user on a node share them; the attempt's own TMPDIR is removed at its end."""
    common = tempfile.gettempdir()
    node = Node(0, 1, LOOPBACK, "7", 0, ("n1",))
    variables = Job(run.folder, 1, 1, 20)._environment(Claim.take_over(run), node, run.code)
    monkeypatch.setenv("DNW_TMPDIR", variables["DNW_TMPDIR"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # as in a worker
    store = replace(example().data, url="file:///away").store()
    assert store is not None
    assert store.cache == Path(common, f"dnw-shards-{os.getuid()}")
