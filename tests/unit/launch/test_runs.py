"""launch/runs.py as it is typed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from run_folder import make, slurm, submit

from dnw.runs.folder import Run
from launch import runs
from launch.commands import status
from launch.commands.serve import server

ROOT = Path(__file__).resolve().parents[3]
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    slurm(tmp_path, monkeypatch)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "launch" / "runs.py"), *words]


@pytest.fixture
def typed(here: Path) -> Typed:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*words), cwd=here, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        ([], ["status", "logs -f 41cb", "cancel 41cb", "drill 41cb", "as much of a name as fits"]),
        (["status"], ["--json", "--watch", "queued", "failed", "jq"]),
        (["logs"], ["--attempt", "--lines", "Errors come first"]),
        (["cancel"], ["--now", "--no-wait", "KillWait"]),
        (["drill"], ["requeue", "--json", "Exit code"]),
        (["table"], ["--csv", "--markdown", "--json", "--plot", "mean ±", "name of an experiment"]),
        (["compare"], ["--json", "--plot", "in which they differ"]),
        (["clean"], ["--yes", "--dry-run", "never touched", "Exit code"]),
    ],
)
def test_help_teaches(typed: Typed, words: list[str], taught: list[str]) -> None:
    done = typed(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for text in taught:
        assert text in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--runs-dir=x"], "x: no such folder; name that of your runs with --runs-dir"),
        (["logs", "zz"], "zz: no run of this name below runs"),
        (["cancel", "default"], "default: fits 2 runs: example/default-1, example/default-2"),
        (["drill", "default-1"], "example/default-1: not running but ready; a drill needs a run at work"),
        (["logs", "default-1"], "example/default-1: nothing has been printed yet; logs -f waits for it"),
    ],
)
def test_a_command_line_that_cannot_be_followed(
    here: Path, typed: Typed, words: list[str], said: str
) -> None:
    for name in ("default-1", "default-2"):
        make(here / "runs", name)
    done = typed(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{said}\n")


@pytest.mark.parametrize("words", [[], ["stauts"], ["status", "--watch", "0"], ["cancel"], ["logs"]])
def test_words_that_make_no_command(typed: Typed, words: list[str]) -> None:
    done = typed(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_all_runs_of_this_folder(here: Path, typed: Typed) -> None:
    make(here / "runs")
    done = typed("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "example/default-0123456789   ready" in done.stdout


def test_watching_ends_quietly_with_ctrl_c(here: Path) -> None:
    run = make(here / "runs")
    submit(run, "7", at=time.time() - 5)
    watching = subprocess.Popen(
        command("status", "--watch", "0.2"),
        cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with watching:
        assert watching.stdout is not None
        seen = 0
        for line in watching.stdout:
            seen += run.name in line
            if seen == 3:
                break
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")


@pytest.mark.parametrize(("module", "words"), [(status, "status --watch 5 seed=1"), (server, "serve seed=1")])
def test_what_looks_again_stays_with_the_run_that_was_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, words: str
) -> None:
    monkeypatch.chdir(here)
    shown: list[Callable[[], list[Run]]] = []
    monkeypatch.setattr(module, "show", lambda select, *_: shown.append(select))
    named = make(here / "runs", "seed=1-0123456789")
    runs.main(words.split())
    make(here / "runs", "seed=1-aaaaaaaaaa")
    assert shown[0]() == [named]


@pytest.mark.parametrize("words", ["-n 2", "-n2", "--tail 2", "--tail=2", "--lines 2"])
def test_the_last_lines_as_of_other_commands(
    here: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    run = make(here / "runs")
    run.log(1, 0).write_text("one\ntwo\nthree\n")
    assert runs.main(["logs", *words.split(), str(run.folder)]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == ["two", "three"]


def test_a_reader_that_goes_away(here: Path) -> None:
    run = make(here / "runs")
    run.log(1, 0).write_text("line\n" * 100_000)
    with subprocess.Popen(
        command("logs", "--lines", "0", str(run.folder)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as printing:
        assert printing.stdout is not None
        printing.stdout.readline()
        printing.stdout.close()
        assert printing.stderr is not None
        assert printing.stderr.read() == b""
        assert printing.wait(timeout=30) == 128 + signal.SIGPIPE
