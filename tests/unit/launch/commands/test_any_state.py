"""Every command of launch/runs.py on runs in whatever state: a clear line, and never a traceback."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folder import Slurm, finish, log, make, note, slurm, submit

from dnw.runs.folder import Run
from launch.commands import cancel, logs, tensorboard
from launch.runs import main

NOW = time.time()
JOB = "7"


def queued(run: Run) -> None:
    submit(run, JOB, at=NOW - 60)


def begun(run: Run) -> None:
    submit(run, "8", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="8", restart=0, host="n1", hosts=["n1", "n2"], pid=1)
    note(run, 1, "start", NOW - 40, step=0)
    note(run, 1, "step", NOW - 39, step=1)
    log(run, 2)
    run.log(1, 0).write_text("step 2\n")


def failed(run: Run) -> None:
    begun(run)
    note(run, 1, "end", NOW - 20, reason="error", step=2, detail="RuntimeError: no")


def finished(run: Run) -> None:
    begun(run)
    note(run, 1, "end", NOW - 20, reason="done", step=10)
    finish(run, params=100, macs=1000)


def empty(run: Run) -> None:
    for path in run.folder.iterdir():
        path.unlink() if path.is_file() else path.rmdir()


def cut(
    path: Callable[[Run], Path], content: bytes, first: Callable[[Run], None] = failed
) -> Callable[[Run], None]:
    """A run of which one file ends so."""

    def damage(run: Run) -> None:
        first(run)
        with path(run).open("ab") as file:
            file.write(content)

    return damage


def put(
    path: Callable[[Run], Path], content: bytes, first: Callable[[Run], None] = failed
) -> Callable[[Run], None]:
    """A run of which one file is that."""

    def damage(run: Run) -> None:
        first(run)
        path(run).write_bytes(content)

    return damage


def other_version(run: Run) -> None:
    failed(run)
    run.config.write_text(run.config.read_text().replace("version: 1", "version: 2\nunknown: {}"))


def without_config(run: Run) -> None:
    failed(run)
    run.config.unlink()


GOOD: dict[str, Callable[[Run], None]] = {
    "ready": lambda run: None,
    "queued": queued,
    "running": begun,
    "failed": failed,
    "finished": finished,
    "failed, ledger cut off": cut(lambda run: run.attempts, b'{"time": 1.5, "att'),
    "failed, ledger ends in zeros": cut(lambda run: run.attempts, b"\0" * 40),
    "failed, ledger ends in noise": cut(lambda run: run.attempts, b'{"\xff\xfe}'),
    "failed, ledger of another version": cut(lambda run: run.attempts, b'{"attempt": 1, "event": "lunch"}\n'),
    "failed, metrics cut off": cut(lambda run: run.metrics, b'{"step": 4, "kind": "train", "x": {}'),
    "failed, metrics end in noise": cut(lambda run: run.metrics, b'{"kind": "train", \xff}\n'),
    "finished, without launch.json": lambda run: (finished(run), run.launch.unlink())[0],
    "finished, another version": lambda run: (finished(run), run.config.write_text("version: 2\n"))[0],
}
BROKEN: dict[str, Callable[[Run], None]] = {
    "empty folder": empty,
    "no config.yaml": without_config,
    "config.yaml cut off": put(lambda run: run.config, b"version: 1\nexp: example\nmodel: {na"),
    "config.yaml ends early": put(lambda run: run.config, b"version: 1\nexp: example\n"),
    "config.yaml empty": put(lambda run: run.config, b""),
    "config.yaml is zeros": put(lambda run: run.config, b"\0" * 99),
    "config.yaml is noise": put(lambda run: run.config, b"\xff\xfe\xfa"),
    "config.yaml is a list": put(lambda run: run.config, b"[1, 2]"),
    "another version": other_version,
    "result.json empty": put(lambda run: run.result, b""),
    "result.json cut off": put(lambda run: run.result, b'{"top1": 6'),
    "result.json is a number": put(lambda run: run.result, b"5"),
    "launch.json empty": put(lambda run: run.launch, b""),
    "launch.json cut off": put(lambda run: run.launch, b'{"cluster": "slurm", "jo'),
    "launch.json of another version": put(lambda run: run.launch, b'{"cluster": "slurm", "id": 7}'),
    "launch.json is noise": put(lambda run: run.launch, b"\xff\xfe"),
}
COMMANDS = (
    "status other",
    "status",
    "logs other",
    "logs other --attempt 1",
    "logs other -f",
    "cancel other",
    "drill other",
    "table",
    "table other",
    "compare other good",
    "tensorboard other",
    "clean other --yes",
    "clean --yes",
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """Slurm has one job in its queue, and another that runs until it is cancelled."""
    cluster = slurm(tmp_path, monkeypatch)
    for command in ("squeue", "sacct", "scancel"):
        cluster.says(command)
    cluster.says("scontrol", err="slurm_update error", code=1)
    monkeypatch.chdir(tmp_path)
    for module, name in ((cancel, "POLL_S"), (logs, "POLL_S")):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(tensorboard, "show", lambda runs, port: len(runs()) and 0)  # it would serve them
    return cluster


def prepared(folder: Path, state: Callable[[Run], None]) -> Run:
    """The run in question, beside a finished one."""
    finished(make(folder / "runs", "good-aaaaaaaaaa"))
    run = make(folder / "runs", "other-bbbbbbbbbb")
    state(run)
    return run


@pytest.mark.parametrize("state", [*GOOD.values(), *BROKEN.values()], ids=[*GOOD, *BROKEN])
def test_a_clear_line_and_no_traceback(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str], state: Callable[[Run], None]
) -> None:
    prepared(tmp_path, state)
    for words in COMMANDS:
        assert main(words.split()) in {0, 1, 2}, words
        said = "".join(capsys.readouterr())
        assert "Traceback" not in said, words
        assert said or words.startswith("tensorboard"), words


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_run_at_work(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    run = prepared(tmp_path, begun if state == "RUNNING" else queued)
    job = "8" if state == "RUNNING" else JOB
    cluster.says("squeue", f"{job}|{state}|None|n1|low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n")
    for words in (words for words in COMMANDS if not words.endswith("-f")):  # which would wait for its end
        more = ["--no-wait"] if words.startswith("cancel") else []
        assert main([*words.split(), *more]) in {0, 1, 2}, words
        assert "Traceback" not in "".join(capsys.readouterr()), words
    assert f"scancel {job}" in cluster.calls


def test_a_run_that_is_not_there(tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(tmp_path, finished)
    for words in (words for words in COMMANDS if "other" in words):
        assert main(words.replace("other", "nowhere").split()) == 2, words
        assert capsys.readouterr().err == "nowhere: no run of this name below runs\n"


@pytest.mark.parametrize("state", BROKEN.values(), ids=BROKEN)
def test_a_broken_run_is_shown_as_such_beside_the_good_one(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str], state: Callable[[Run], None]
) -> None:
    run = prepared(tmp_path, state)
    main(["status"])
    out = capsys.readouterr().out
    assert re.search(r"^ example/good-aaaaaaaaaa +finished .* 61\.50 ", out, re.MULTILINE)
    assert re.search(rf"^ {run.name} +unreadable ", out, re.MULTILINE)
    assert f"\n{run.name}: {run.folder}/" in out  # which file it is, and why


@pytest.mark.parametrize("state", GOOD.values(), ids=GOOD)
def test_what_the_state_does_not_depend_on_may_be_damaged(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest,
    state: Callable[[Run], None],
) -> None:  # fmt: skip
    run = prepared(tmp_path, state)
    jobs = {"queued": ("7", "PENDING"), "running": ("8", "RUNNING")}
    expected = request.node.callspec.id.partition(",")[0]
    if expected in jobs:
        job, what = jobs[expected]
        cluster.says("squeue", f"{job}|{what}|None|n1|low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n")
    main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)[1]["state"] == expected


def test_a_run_at_work_stays_so_whatever_its_files_say(
    tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepared(tmp_path, begun)
    run.config.write_text("version: 2\n")
    cluster.says("squeue", f"8|RUNNING|None|n1|low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n")
    main(["status"])
    out = capsys.readouterr().out
    assert re.search(rf"{run.name} +running ", out)
    assert f"{run.config}: " in out


def test_two_hundred_runs(tmp_path: Path, cluster: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    queue = ""
    of_each = [make(tmp_path, f"default-{number:010x}") for number in range(2)]
    begun(of_each[1])
    for number in range(200):
        run = Run(tmp_path / "runs" / "example" / f"default-{number:010x}")
        shutil.copytree(of_each[number % 4 > 0].folder, run.folder)
        submit(run, str(number), at=NOW - 60)
        if number % 4 == 0:
            queue += f"{number}|PENDING|Priority||low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n"
    cluster.says("squeue", queue)
    started = time.monotonic()
    main(["status", "--json"])
    assert time.monotonic() - started < 10
    found = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in found].count("queued") == 50
    assert [call.split()[0] for call in cluster.calls] == ["squeue", "sacct", "squeue"]
