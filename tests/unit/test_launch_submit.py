"""What reaches a cluster. sbatch, srun and squeue are stand-ins here; tests/slurm has the real ones."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnw import ledger, lock
from dnw.lock import Lock
from dnw.run import Run
from launch import app, snapshot, submission
from launch.submission import Submission

Typed = Callable[..., int]
Captured = pytest.CaptureFixture[str]

SBATCH = """#!/bin/sh
env | grep -E "^(SLURM|SBATCH|SRUN|CUDA)_" | sort > "$LAB/env"
if [ "$1" = --test-only ]; then
    cat > "$LAB/tried"
    [ -e "$LAB/refuse" ] && { echo "allocation failure: Invalid partition name specified" >&2; exit 1; }
    echo "sbatch: Job 7 to start at 2026-11-23T01:11:33 using 2 processors on nodes n[1-2]" >&2; exit 0
fi
cp "$1" "$LAB/script-$(ls "$LAB" | grep -c script-)"
[ -e "$LAB/refuse" ] && { cat "$LAB/refuse" >&2; exit 1; }
echo "Submitted batch job 4711"
"""
SQUEUE = (
    '#!/bin/sh\n[ "$*" = "--noheader --jobs 4711 --format %T" ] && cat "$LAB/state" 2>/dev/null\nexit 0\n'
)
SCONTROL = """#!/bin/sh
case "$*" in
"show partition --oneliner") cat "$LAB/partitions" ;;
"--oneliner show partition "*) grep "PartitionName=$4 " "$LAB/partitions" ;;
"show config") echo "KillReady = x"; echo "KillWait                = 30 sec" ;;
"show node n"[1-4]" --oneliner") echo "NodeName=$3 State=IDLE" ;;
*) exit 1 ;;
esac
"""
PARTITIONS = """\
PartitionName=low AllowGroups=ALL Default=YES GraceTime=10 MaxNodes=UNLIMITED MaxTime=UNLIMITED TotalNodes=4
PartitionName=short AllowGroups=ALL Default=NO GraceTime=0 MaxNodes=2 MaxTime=01:00:00 TotalNodes=4
PartitionName=odd
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Slurm's commands; what sbatch is given lands in it."""
    folder = tmp_path / "lab"
    (folder / "bin").mkdir(parents=True)
    for name, text in (
        *(("sbatch", SBATCH), ("srun", "#!/bin/sh\n"), ("squeue", SQUEUE), ("scontrol", SCONTROL)),
    ):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    (folder / "partitions").write_text(PARTITIONS)
    monkeypatch.setenv("LAB", str(folder))
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launch_shards: Path, lab: Path) -> Typed:
    """Types `launch/slurm.py` with more words: the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        line = ["launch/slurm.py", "+exp=static_dnw", f"data.dir={launch_shards}", *words]
        monkeypatch.setattr(sys, "argv", line)
        return app.main(app.background)

    return run


def runs(tmp_path: Path) -> list[Run]:
    return [Run(path) for path in sorted((tmp_path / "runs" / "static_dnw").iterdir())]


def runs_dir_is_empty(tmp_path: Path) -> bool:
    return not (tmp_path / "runs").exists()


def earlier(tmp_path: Path, *nodes: str, step_s: float = 1.0, save_s: float = 1.0) -> Run:
    """Attempts of the one run that is there: killed on these nodes; and how long its steps and saves took."""
    (run,) = runs(tmp_path)
    for number, node in enumerate(nodes, start=1):
        ledger.end(run, number, "killed", node=node)
    lines = [
        {"step": 1, "kind": "train", "images_per_second": 512 / step_s},
        {"step": 1, "kind": "save", "seconds": save_s, "bytes": 1},
    ]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def shown_script(text: str) -> str:
    """What a dry run prints between the configuration and what Slurm says to it."""
    return text[text.index("#!/bin/bash") : text.rindex("\n\n#") + 1]


def test_what_is_submitted_is_what_a_dry_run_shows(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    words = ["cluster.gpus_per_node=4", "cluster.partition=gpu", "cluster.mem_gb=1.5", "nodes=2"]
    assert typed(*words, "dry_run=true") == 0
    assert runs_dir_is_empty(tmp_path)
    shown = shown_script(capfd.readouterr().out)
    assert (lab / "tried").read_text() == shown
    assert typed(*words) == 0
    out = capfd.readouterr().out
    assert (lab / "script-0").read_text() == shown
    (run,) = runs(tmp_path)
    assert "job     4711 (slurm)" in out
    assert f"tail -F {run.log(1, 0).relative_to(tmp_path)}" in out
    assert "scancel 4711" in out
    noted = submission.newest(run)
    assert noted is not None
    assert (noted.job, noted.cluster, noted.nodes, noted.nproc) == ("4711", "slurm", 2, 4)
    for line in (
        "--mem=1536M",
        "--gpus-per-node=4",
        "--partition=gpu",
        "--nodes=2",
        "--requeue",
        "--ntasks-per-node=1",
    ):
        assert f"#SBATCH {line}\n" in shown


def test_a_job_imports_the_frozen_code_and_nothing_else(typed: Typed, tmp_path: Path, lab: Path) -> None:
    """The script's own lines, run where a module of the same name lies in the way."""
    typed()
    (run,) = runs(tmp_path)
    (tmp_path / "elsewhere" / "launch").mkdir(parents=True)
    (tmp_path / "elsewhere" / "launch" / "__init__.py").write_text("raise ImportError('the working tree')")
    lines = (lab / "script-0").read_text().splitlines()
    setup = [line for line in lines if line.startswith(("CODE=", "export PYTHONPATH"))]
    (pickled,) = (run.slurm / "1").glob("*_submitted.pkl")
    load = "import pickle, sys; job = pickle.load(open(sys.argv[1], 'rb')).function; import launch.job"
    show = f"{load}; print(launch.job.__file__); print(job)"
    done = subprocess.run(
        ["bash", "-c", "\n".join([*setup, f'{sys.executable} -c "{show}" {pickled}'])],
        cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True,
    )  # fmt: skip
    file, job = done.stdout.splitlines()
    assert file == str(run.code / "launch" / "job.py")
    assert str(run.folder) in job


def test_a_sweep_is_one_job_array_each_with_its_own_code(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    assert typed("-m", "width=0.05,0.1,0.2") == 0
    assert [path.name for path in lab.glob("script-*")] == ["script-0"]
    lines = (lab / "script-0").read_text().splitlines()
    assert "#SBATCH --array=0-2%3" in lines
    prepared = runs(tmp_path)
    setup = "\n".join(line for line in lines if line.startswith(("CODE=", "export PYTHONPATH")))
    for number, run in enumerate(prepared):
        env = {"SLURM_ARRAY_TASK_ID": str(number), "PATH": os.environ["PATH"], "PYTHONPATH": "/site"}
        said = subprocess.run(
            ["bash", "-c", f"{setup}\necho $PYTHONPATH"], env=env, capture_output=True, text=True, check=True
        )
        assert said.stdout == f"{run.code}:/site\n"
        noted = submission.newest(run)
        assert noted is not None
        assert noted.job == f"4711_{number}"
    assert capfd.readouterr().out.count("job     4711_") == 3


def test_typed_again_while_it_waits(typed: Typed, lab: Path, capfd: Captured) -> None:
    typed()
    for what, told in (("PENDING", "queued"), ("RUNNING", "running"), ("COMPLETING", "running")):
        capfd.readouterr()
        (lab / "state").write_text(f"{what}\n")
        assert typed() == 0
        assert f"{told}, job 4711 on slurm" in capfd.readouterr().out
    assert typed("fresh=true") == 2
    assert "fresh: static_dnw/default-" in capfd.readouterr().err
    assert len(list(lab.glob("script-*"))) == 1


def test_typed_again_once_it_has_stopped(typed: Typed, tmp_path: Path, lab: Path) -> None:
    typed()
    typed("nodes=2")
    (run,) = runs(tmp_path)
    assert sorted(path.name for path in run.slurm.iterdir()) == ["1", "2"]
    assert "--nodes=2" in (lab / "script-1").read_text()
    noted = submission.newest(run)
    assert noted is not None
    assert noted.nodes == 2


def test_typed_again_while_someone_works_on_it(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    typed()
    (run,) = runs(tmp_path)
    with Lock.take(run.lock) as held:
        held.write(attempt=2, job="9", pid=8, host="n7")
        assert typed() == 0
    assert "running, attempt 2 (job 9, process 8 on n7)" in capfd.readouterr().out
    assert lock.holder(run.lock) is None
    assert len(list(lab.glob("script-*"))) == 1


def test_typed_again_when_it_is_done(typed: Typed, tmp_path: Path, lab: Path, capfd: Captured) -> None:
    typed()
    (run,) = runs(tmp_path)
    run.result.write_text(json.dumps({"top1": 61.5, "macs": 42}))
    capfd.readouterr()
    assert typed() == 0
    out = capfd.readouterr().out
    assert "finished" in out
    assert "top1          61.5" in out
    assert len(list(lab.glob("script-*"))) == 1


def test_a_sweep_submits_what_is_left_of_it(typed: Typed, tmp_path: Path, lab: Path) -> None:
    typed("width=0.1")
    (run,) = runs(tmp_path)
    run.result.write_text("{}")
    typed("-m", "width=0.05,0.1,0.2")
    assert "#SBATCH --array=0-1%2" in (lab / "script-1").read_text()


def test_a_dry_run_shows_what_slurm_says(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("dry_run=true") == 0
    shown = capfd.readouterr().out.splitlines()[-2:]
    assert shown == [
        "# after the TERM of a preemption: partition low: GraceTime 10 s + KillWait 30 s",
        "# sbatch --test-only: Job 7 to start at 2026-11-23T01:11:33 using 2 processors on nodes n[1-2]",
    ]


@pytest.mark.parametrize(
    ("words", "refused", "said"),
    [
        (["cluster.partition=odd"], True,
         "# REFUSED: cluster.partition=odd: Slurm refuses the job: Invalid partition name specified"),
        (["nodes=8"], False, "# REFUSED: nodes=8: partition low has 4"),
    ],
)  # fmt: skip
def test_a_dry_run_of_a_job_that_would_be_refused(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], refused: bool, said: str
) -> None:
    if refused:
        (lab / "refuse").touch()
    assert typed(*words, "dry_run=true") == 0
    assert capfd.readouterr().out.splitlines()[-1] == said
    assert runs_dir_is_empty(tmp_path)


@pytest.mark.parametrize(
    ("words", "said", "named"),
    [
        (["cluster.partition=nope"],
         "sbatch: error: invalid partition specified: nope\n"
         "sbatch: error: Batch job submission failed: Invalid partition name specified",
         "cluster.partition=nope: Slurm refuses the job: invalid partition specified: nope; Invalid "
         "partition name specified"),
        (["nodes=4", "cluster.gpus_per_node=2", "cluster.mem_gb=99", "cluster.time=2-0"],
         "sbatch: error: Batch job submission failed: Requested node configuration is not available",
         "nodes=4, cluster.gpus_per_node=2, cluster.cpus_per_task=4, cluster.mem_gb=99: Slurm refuses the "
         "job: Requested node configuration is not available"),
        (["-m", "width=0.05,0.1", "cluster.time=2-0"],
         "sbatch: error: Batch job submission failed: Requested time limit is invalid",
         "cluster.time=2-0: Slurm refuses the job: Requested time limit is invalid"),
    ],
)  # fmt: skip
def test_a_refused_job(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], said: str, named: str
) -> None:
    (lab / "refuse").write_text(said)
    assert typed(*words) == 2
    out, err = capfd.readouterr()
    assert err.startswith(named)
    assert err.count("\n") == 1
    assert out == ""
    for run in runs(tmp_path):  # prepared, and nothing else: typed again it is simply submitted
        assert submission.newest(run) is None
        assert submission.state(run) == ("ready", "")
        assert list(run.slurm.iterdir()) == []
    (lab / "refuse").unlink()
    assert typed(*words) == 0


def test_a_refusal_that_a_default_of_sbatch_led_to(
    typed: Typed, lab: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab / "refuse").write_text("sbatch: error: Batch job submission failed: Invalid account")
    monkeypatch.setenv("SBATCH_ACCOUNT", "theirs")
    assert typed() == 2
    assert capfd.readouterr().err.startswith("SBATCH_ACCOUNT=theirs: Slurm refuses the job: Invalid account")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nodes=8"], "nodes=8: partition low has 4\n"),
        (["nodes=4", "cluster.partition=short", "cluster.timeout_min=60"],
         "nodes=4: partition short gives a job 2 at most\n"),
        (["cluster.partition=short", "cluster.timeout_min=61"],
         "cluster.timeout_min: partition short has a time limit of 60 minutes (got 61)\n"),
    ],
)  # fmt: skip
def test_a_job_that_would_wait_for_ever(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], said: str
) -> None:
    assert typed(*words) == 2
    assert capfd.readouterr() == ("", said)
    assert runs_dir_is_empty(tmp_path)
    assert not list(lab.glob("script-*"))


@pytest.mark.parametrize(
    "words",
    [
        ["nodes=4", "cluster.timeout_min=60"],
        ["nodes=4", "cluster.partition=[short,low]"],  # one of them would do
        ["nodes=4", "cluster.partition=short", "cluster.qos=long"],  # which may grant more
        ["nodes=8", "cluster.partition=odd"],  # of which Slurm says nothing
        ["cluster.partition=short", "cluster.timeout_min=60"],
    ],
)
def test_a_job_that_slurm_may_run(typed: Typed, words: list[str]) -> None:
    assert typed(*words) == 0


def test_nodes_that_failed_twice_are_kept_out(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    """Of them n9 has left the cluster: Slurm would refuse a job that names it."""
    typed()
    earlier(tmp_path, "n2", "n9", "n2", "n9")
    capfd.readouterr()
    assert typed("cluster.exclude=n4", "nproc=2") == 0
    assert "\nnote    excluded: n2 (failed twice)\n" in capfd.readouterr().out
    assert "#SBATCH --exclude=n4,n2\n" in (lab / "script-1").read_text()
    assert typed("nodes=4") == 0
    assert "note    not excluded: n2 (failed twice): too few nodes would be left" in capfd.readouterr().out
    assert "--exclude" not in (lab / "script-2").read_text()


def test_the_lead_follows_from_what_the_run_has_measured(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    assert typed() == 0
    assert "#SBATCH --signal=USR2@180\n" in (lab / "script-0").read_text()
    earlier(tmp_path, step_s=50.0, save_s=85.0)
    assert "note" not in capfd.readouterr().out
    assert typed() == 0
    assert "#SBATCH --signal=USR2@260\n" in (lab / "script-1").read_text()
    assert (
        "note    checkpoint.every_minutes: stopping takes up to 200 s (2 steps of 50.0 s, 85.0 s to "
        "save, 15 s to spare), but after a TERM there are 120 s (cluster.grace_s) and 40 s (partition low: "
        "GraceTime 10 s + KillWait 30 s): the last checkpoint may be what counts; save more often than every "
        "10 minutes\n"
    ) in capfd.readouterr().out
    assert typed("cluster.signal_delay_s=150") == 2
    assert "cluster.signal_delay_s: 150 s, but stopping this run takes up to 200 s" in capfd.readouterr().err
    assert len(list(lab.glob("script-*"))) == 2


def test_a_disk_that_is_full(
    typed: Typed, lab: Path, small_disk: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared while there was room."""
    (lab / "refuse").write_text("later")
    monkeypatch.setattr(snapshot, "write", lambda code, outside: code.mkdir())
    assert typed(f"runs_dir={small_disk}") == 2
    (lab / "refuse").unlink()
    with contextlib.suppress(OSError):
        (small_disk / "large").write_bytes(bytes(2**20))
    capfd.readouterr()
    for words in ([], ["data.workers=0"]):  # the latter is to be noted in the run folder
        assert typed(f"runs_dir={small_disk}", *words) == 2
        err = capfd.readouterr().err
        assert "no space left on device; make room" in err
        assert err.count("\n") == 1
    (small_disk / "large").unlink()
    assert typed(f"runs_dir={small_disk}") == 0
    (run,) = [Run(path) for path in (small_disk / "static_dnw").iterdir()]
    assert [path.name for path in run.slurm.iterdir()] == ["1"]


def test_a_job_that_cannot_be_noted_is_cancelled(
    typed: Typed, lab: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed again, a run that knows nothing of its job would be submitted a second time."""

    def full(self: Submission, run: Run) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (lab / "bin" / "scancel").write_text('#!/bin/sh\necho "$@" >> "$LAB/cancelled"\n')
    (lab / "bin" / "scancel").chmod(0o755)
    monkeypatch.setattr(Submission, "write", full)
    assert typed() == 2
    assert (lab / "cancelled").read_text() == "4711\n"
    assert "not submitted, no space left on device" in capfd.readouterr().err


def test_typed_inside_a_job(typed: Typed, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = {"SLURM_JOB_ID": "1", "SLURM_CPU_BIND": "mask", "SRUN_DEBUG": "3", "CUDA_VISIBLE_DEVICES": "0"}
    for name, value in {**outer, "SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "mine"}.items():
        monkeypatch.setenv(name, value)
    assert typed() == 0
    assert (lab / "env").read_text() == "SBATCH_ACCOUNT=mine\nSLURM_CONF=/etc/slurm.conf\n"
    assert os.environ["SLURM_CPU_BIND"] == "mask"


def test_defaults_for_sbatch_hold_where_no_setting_says_otherwise(
    typed: Typed, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For sbatch a variable is worth more than a line of its script."""
    theirs = {"SBATCH_ACCOUNT": "mine", "SBATCH_QOS": "long", "SLURM_UMASK": "0022"}
    ours = ("PARTITION", "TIMELIMIT", "SIGNAL", "NO_REQUEUE", "ARRAY_INX", "WAIT", "RESERVATION")
    for name, value in {**theirs, **{f"SBATCH_{name}": "1" for name in ours}}.items():
        monkeypatch.setenv(name, value)
    assert typed("cluster.partition=low", "cluster.additional_parameters={reservation: week}") == 0
    assert (lab / "env").read_text() == "SBATCH_ACCOUNT=mine\nSBATCH_QOS=long\nSLURM_UMASK=0022\n"


def test_a_partition_that_is_a_default_of_sbatch(
    typed: Typed, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "short")
    assert typed("nodes=4", "cluster.timeout_min=60") == 2
    assert "partition short gives a job 2 at most" in capfd.readouterr().err
