"""What is typed, and what is answered: without submitting anything."""

import contextlib
import dataclasses
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED, Divergence
from launch import app, prepare
from launch.node.signals import SIGNALS, StopRequests
from launch.prepare import RunPlan

ROOT = Path(__file__).resolve().parents[3]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launch_shards: Path, capfd: pytest.CaptureFixture[str]
) -> Typed:
    """Types a command in an empty folder: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def run(
        *words: str, launch: Callable[..., int] = app.background, data: str | None = None
    ) -> tuple[int, str, str]:
        data = str(launch_shards) if data is None else data
        monkeypatch.setattr(sys, "argv", ["launch/slurm.py", *words, *([f"data.dir={data}"] if data else [])])
        code = app.main(launch)
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("option", ["--e", "--exp", "--experimental", "--experimental-rerun", "--ex=FILE"])
def test_no_option_unpickles_a_file(typed: Typed, tmp_path: Path, option: str) -> None:
    harm = tmp_path / "harm"
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(Harmful(harm)))
    words = [option.replace("FILE", "job.pickle")] if "=" in option else [option, "job.pickle"]
    code, out, error = typed(*words, "+exp=static_dnw")
    assert (code, out, len(error.splitlines())) == (2, "", 1)
    assert not harm.exists()


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.folder,)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"exp: name an experiment with \+exp=NAME, one of\n(.*\n)*  static_dnw +Tiny static classifier"),
        (["+exp=static_dnv"], r"^exp: no experiment 'static_dnv'; did you mean static_dnw\?$"),
        (["exp=static_dnw"], r"exp: write it as \+exp=NAME"),
        (["--exp=static_dnw"], r"--exp=static_dnw: write it as \+exp=static_dnw"),
        (["--exp", "static_dnw"], r"--exp: write it as \+exp=static_dnw"),
        (["+exp=static_dnw", "--nodes=2"], r"--nodes=2: a setting, which has no dashes: nodes=2"),
        (["+exp=static_dnw", "--multi"], r"--multi: no such option; did you mean --multirun\?"),
        (
            ["--experimental-rerun", "job.pickle"],
            r"--experimental-rerun: not taken, it executes what the file",
        ),
        (["+exp=static_dnw", "widht=0.3"], r"widht: no such setting; did you mean width\?"),
        (["+exp=static_dnw", "+widht=0.3"], r"widht: no such setting; did you mean width\?"),
        (["+exp=static_dnw", "++noeds=2"], r"noeds: no such setting; did you mean nodes\?"),
        (["+exp=static_dnw", "optim.lrr=1"], r"optim.lrr: no such setting; did you mean optim.lr\?"),
        (["+exp=static_dnw", "+optim.lrr=1"], r"optim.lrr: no such setting; did you mean optim.lr\?"),
        (["+exp=static_dnw", "cluster.partitoin=a"], r"did you mean cluster.partition\?"),
        (["+exp=static_dnw", "+cluster.partitoin=a"], r"did you mean cluster.partition\?"),
        (
            ["+exp=static_dnw", "data=cifar"],
            r"data: no option 'cifar'; did you mean cifar10\?; there are: cifar10",
        ),
        (
            ["+exp=resnet50_sparse", "model=timm/resnet5"],
            r"model.name: timm has no classifier 'resnet5'; did you mean resnet50\?",
        ),
        (["+exp=resnet50_sparse", "model=resnet"], r"model: no option 'resnet'(.*)timm/NAME"),
        (["+exp=resnet50_sparse", "width=0.5"], r"width: model=resnet50 has none; set sparsity"),
        (["+exp=resnet50_sparse", "sparsity=null"], r"sparsity: must be set, the share of the weights"),
        (["+exp=static_dnw", "sparsity=0.5"], r"sparsity: not for model=static"),
        (["+exp=cifar_fine_tune"], r"wiring.source: no run of cifar_complete is in .*\nTrain it first:"),
        (["+exp=static_dnw", "width=0"], r"width: must be greater than 0 \(got 0\)"),
        (["+exp=static_dnw", "width=1.5"], r"width: must be less than or equal to 1 \(got 1.5\)"),
        (["+exp=static_dnw", "width=wide"], r"width: must be a valid number"),
        (
            ["+exp=static_dnw", "micro_batch=50"],
            r"micro_batch: 50 does not divide batch=512; these do: 1, 2, 4",
        ),
        (["+exp=static_dnw", "nodes=3"], r"3 x 1 = 3 processes .* 8 micro-batches .* can: 1, 2, 4, 8$"),
        (["+exp=static_dnw", "nproc=0"], r"nproc: must be greater than 0 \(got 0\)"),
        (["+exp=static_dnw", "port=70000"], r"port: must be less than 65536 \(got 70000\)"),
        (
            ["+exp=static_dnw", "data.classes=7"],
            r"data.classes: 7, but the train split in \S+ has 10 classes; set",
        ),
        (["+exp=static_dnw", "cluster=local", "nodes=2"], r"nodes: this machine is one \(got 2\)"),
        (
            ["+exp=static_dnw", "cluster.grace_s=900", "cluster.signal_delay_s=600"],
            r"grace_s: 900 s .* raise cluster.signal_delay_s",
        ),
        (["+exp=static_dnw", "cluster.timeout_min=2"], r"timeout_min: a time limit of 120 s is too short"),
        (
            ["+exp=static_dnw", "cluster.time=2:00:00", "cluster.timeout_min=2"],
            r"both say the same thing \(got 2:00:00 and 2\)",
        ),
        (["+exp=static_dnw", "width=["], r"width=\[: not closed, or with a part that needs quotes: "),
        (["+exp=static_dnw", "width=${wide}"], r"width: no setting 'wide' that"),
        (["+exp=static_dnw", "width=0.1,0.2"], r"add --multirun"),
        (["-m", "+exp=static_dnw", "width=0.1,0.1"], r"comes up more than once in this sweep"),
        (["-m", "+exp=static_dnw", "width=0.1,2"], r"width: must be less than or equal to 1 \(got 2\)"),
    ],
)
def test_a_command_line_that_cannot_be_followed(
    typed: Typed, tmp_path: Path, words: list[str], said: str
) -> None:
    code, out, err = typed(*words)
    assert code == 2
    assert re.search(said, err, re.MULTILINE), err
    assert "Traceback" not in out + err
    assert not out
    assert left(tmp_path) == []


@pytest.mark.parametrize("made", [None, "empty"])
def test_images_that_are_not_there(typed: Typed, tmp_path: Path, made: str | None) -> None:
    folder = tmp_path / "images"
    if made:
        folder.mkdir()
    code, _out, err = typed("+exp=static_dnw", data="images")
    assert code == 2
    assert str(folder) in err
    assert "shards.write" in err


def test_a_run_folder_that_cannot_be_made(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _out, err = typed("+exp=static_dnw", "runs_dir=file/runs", "dry_run=true")
    assert code == 2
    assert f"runs_dir: {tmp_path}/file is a file" in err


def test_a_run_folder_that_cannot_be_written_to(typed: Typed, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    code, _out, err = typed("+exp=static_dnw", f"runs_dir={small_disk}/runs", "cluster=local")
    assert code == 2
    assert err == f"runs_dir: {small_disk} can't be written to; name another folder with runs_dir=\n"


def test_a_full_disk(typed: Typed, small_disk: Path) -> None:
    """1 MiB, all but a few blocks of it taken."""
    with contextlib.suppress(OSError):
        (small_disk / "large").write_bytes(bytes(2**20 - 65536))
    code, _out, err = typed("+exp=static_dnw", f"runs_dir={small_disk}", "cluster=local")
    assert code == 2
    assert "not written, no space left on device; make room, or name another folder with runs_dir=" in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in small_disk.iterdir()] == ["large"]


def test_a_machine_without_slurm(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _out, err = typed("+exp=static_dnw")
    assert code == 2
    assert "sbatch: not found" in err
    assert "cluster=local" in err
    assert left(tmp_path) == []


def test_the_foreground_is_one_node(typed: Typed) -> None:
    for words in (["nodes=2"], ["-m", "nodes=2", "width=0.1,0.2"]):
        code, _out, err = typed(*words, "+exp=static_dnw", launch=app.foreground)
        assert (code, "nodes: this machine is one" in err) == (2, True)


def test_a_sweep_in_the_foreground(typed: Typed) -> None:
    words = ["-m", "+exp=static_dnw", "width=0.1,0.2", "dry_run=true"]
    code, out, _err = typed(*words, launch=app.foreground)
    assert (code, out.count("# torchrun, as")) == (0, 2)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Those of this process, put back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_as_a_run_of_a_sweep_ends_begins_no_other(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """It came too late for the run, which is done, and must not be lost on the sweep."""
    begun: list[RunPlan] = []

    class Done:
        def __init__(self, plan: RunPlan, foreground: bool) -> None:
            self.stop = StopRequests(impatient=foreground)
            begun.append(plan)

        def run(self, begun: Callable[[], None]) -> int:
            self.stop.listen()
            begun()
            os.kill(os.getpid(), number)
            return 0

    monkeypatch.setattr(app, "job", Done)
    code, _out, err = typed("-m", "+exp=static_dnw", "width=0.1,0.2", "nproc=1", launch=app.foreground)
    assert (code, len(begun)) == (75, 1)
    assert re.search(r"static_dnw/width=0.2-\w+: not begun; the same command goes on with it", err)


def normal(text: str, *places: tuple[object, str]) -> str:
    for place, name in (*places, (sys.executable, "PYTHON"), (ROOT, "PROJECT")):
        text = text.replace(str(place), name)
    return re.sub(r"\b[0-9a-f]{64}\b", "FINGERPRINT", re.sub(r"\b[0-9a-f]{10}\b", "SIGNATURE", text))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("slurm", ["+exp=imagenet_dnw", "nodes=2", "cluster.gpus_per_node=4", "cluster.partition=gpu",
                   "data.classes=10", "cluster.mem_gb=64", "cluster.setup=[module load cuda]",
                   "cluster.time=12:30:00", "cluster.exclude=[n1,n2]", "cluster.qos=long",
                   "cluster.additional_parameters={mail-user: me@here}"]),
        ("sweep", ["-m", "+exp=static_dnw", "width=0.05,0.1"]),
        ("local", ["+exp=static_dnw", "cluster=local", "nproc=2", "data=fashion_mnist"]),
    ],
)  # fmt: skip
def test_a_dry_run_shows_everything_and_writes_nothing(
    typed: Typed,
    tmp_path: Path,
    launch_shards: Path,
    accepted: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: list[str],
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # test_submit.py has what a Slurm says to it
    code, out, err = typed(*words, "dry_run=true")
    assert (code, err) == (0, "")
    assert left(tmp_path) == []
    accepted(f"dry_run_{name}.txt", normal(out, (tmp_path, "HERE"), (launch_shards, "SHARDS")))


def test_a_dry_run_of_the_foreground(typed: Typed, tmp_path: Path) -> None:
    code, out, _err = typed("+exp=static_dnw", "nproc=4", "dry_run=true", launch=app.foreground)
    assert code == 0
    assert "--nproc-per-node 4" in out
    assert left(tmp_path) == []


def by_shell(tmp_path: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    # no PYTHONPATH, no installation, a folder elsewhere
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(ROOT / "launch" / script), *words]
    return subprocess.run(
        command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("script", ["slurm.py", "local.py"])
def test_help_teaches(tmp_path: Path, script: str) -> None:
    done = by_shell(tmp_path, script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in (
        "imagenet_dnw",
        "static_random",
        "published 80.9",
        "Ctrl-C",
        "dry_run=true",
        "fresh=true",
        "-m ",
    ):
        assert word in done.stdout
    assert left(tmp_path) == []


def test_completion_knows_the_experiments(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path[0] = sys.argv.pop(1); from launch.app import background, main; main(background)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT), "-sc", "query=bash"],
        cwd=tmp_path,
        env=os.environ | {"COMP_LINE": "slurm.py +exp=static_", "COMP_POINT": "21"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "+exp=static_dnw" in done.stdout


def test_nothing_of_the_launcher_imports_torch(tmp_path: Path) -> None:
    paths = [path for path in (ROOT / "launch").rglob("*.py") if path.stem != "__init__"]
    names = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    imports = "; ".join(f"import {name}" for name in names)
    check = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=env, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("word", ["--cfg=job", "--info=defaults-tree"])
def test_what_hydra_answers_by_itself(typed: Typed, tmp_path: Path, word: str) -> None:
    code, out, _ = typed("+exp=static_dnw", word, data="")
    assert code == 0
    assert "static" in out
    assert left(tmp_path) == []


@pytest.mark.parametrize("words", [[], ["code=new"]], ids=["again", "code=new"])
def test_a_run_that_diverges_between_two_looks(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """As one may that somebody else has started at the same moment: it is told, and nothing is submitted."""
    look = app._startable
    looks: list[Sequence[RunPlan]] = []

    def startable(plans: Sequence[RunPlan]) -> tuple[list[RunPlan], int]:
        if looks:
            prepare.write(plans[0])
            found = Divergence(step=7, what="the loss", rate=0.1, rank=0)
            ledger.claim(plans[0].run, 1, job="-", restart=0)
            ledger.end(plans[0].run, 1, "diverged", step=8, detail="", diverged=dataclasses.asdict(found))
        looks.append(plans)
        return look(plans)

    monkeypatch.setattr(app, "_startable", startable)
    code, out, err = typed("+exp=static_dnw", "cluster=local", *words)
    assert (code, out, len(looks)) == (DIVERGED, "", 2), err
    assert "diverged: the loss of step 7 is not finite" in err
    assert ("  code=new needs resume_diverged=true beside it" in err) == bool(words)
