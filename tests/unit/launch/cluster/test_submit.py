"""What reaches a cluster. sbatch, srun and squeue are stand-ins here; tests/slurm has the real ones."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from login_node import Captured, Typed, as_folder, runs, runs_dir_is_empty
from submitit.core.utils import DelayedSubmission

from dnw.runs import ledger, lock
from dnw.runs.lock import Lock
from launch.cluster import job_request, submission, submit
from launch.cluster.submission import Submission
from launch.node.container import Container
from launch.node.job import Job
from launch.node.topology import LOOPBACK, Node
from launch.pack.pack import Pack
from launch.query.run_status import query_status


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


def test_a_job_that_is_not_to_start_again_by_itself(typed: Typed, tmp_path: Path, lab: Path) -> None:
    """On GPUs of which Slurm doesn't know, besides."""
    assert typed("cluster.requeue=false", "cluster.gpus_by_slurm=false", "cluster.gpus_per_node=4") == 0
    script = (lab / "script-0").read_text()
    assert "--gpus" not in script
    assert "#SBATCH --no-requeue\n" in script
    assert "#SBATCH --requeue\n" not in script
    (run,) = runs(tmp_path)
    (pickled,) = (run.slurm / "1").glob("*_submitted.pkl")
    made = DelayedSubmission.load(pickled).function
    assert isinstance(made, Job)
    assert not made.is_requeued
    assert (made.gpus, made.nproc) == (4, 4)
    ledger.end(run, 1, "stopped", by="launcher", cause="preempted")
    ((one,), _) = query_status([run])
    assert one.why == "preempted; cluster.requeue=false"


def test_a_job_is_told_in_what_its_workers_run(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    """And by whom: the image by its path, since the job is in another folder."""
    (tmp_path / "image.sif").touch()
    typed("cluster.container=image.sif", "cluster.python=python3.12", "cluster.container_args=[--no-home]")
    (run,) = runs(tmp_path)
    (pickled,) = (run.slurm / "1").glob("*_submitted.pkl")
    made = DelayedSubmission.load(pickled).function
    assert isinstance(made, Job)
    assert made.container == Container(str(tmp_path / "image.sif"), "apptainer", ("--no-home",))
    assert made.command(Node(0, 1, LOOPBACK, "1", 0, ("n1",)), 1, 0)[0] == "python3.12"
    assert "apptainer or singularity: not found on this machine; the nodes must" in capfd.readouterr().out


def test_a_job_imports_the_frozen_code_and_nothing_else(typed: Typed, tmp_path: Path, lab: Path) -> None:
    """The script's own lines, run where a module of the same name lies in the way."""
    typed()
    (run,) = runs(tmp_path)
    (tmp_path / "elsewhere" / "launch").mkdir(parents=True)
    (tmp_path / "elsewhere" / "launch" / "__init__.py").write_text("raise ImportError('the working tree')")
    lines = (lab / "script-0").read_text().splitlines()
    setup = [line for line in lines if line.startswith(("CODE=", "export PYTHONPATH"))]
    (pickled,) = (run.slurm / "1").glob("*_submitted.pkl")
    load = "import pickle, sys; job = pickle.load(open(sys.argv[1], 'rb')).function; import launch.node.job"
    show = f"{load}; print(launch.node.job.__file__); print(job)"
    done = subprocess.run(
        ["bash", "-c", "\n".join([*setup, f'{sys.executable} -c "{show}" {pickled}'])],
        cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True,
    )  # fmt: skip
    file, job = done.stdout.splitlines()
    assert file == str(run.code / "launch" / "node" / "job.py")
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


def test_a_sweep_of_another_experiment_at_the_same_moment(
    typed: Typed, tmp_path: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its files, which lie in the same folder, and this one has its own."""
    theirs, parameters = tmp_path / "runs" / ".sweeps" / "1" / "0.pkl", job_request.parameters

    def meanwhile(*arguments: Any) -> dict[str, Any]:
        if not theirs.exists():
            theirs.parent.mkdir(parents=True)
            theirs.touch()
        return parameters(*arguments)

    monkeypatch.setattr(job_request, "parameters", meanwhile)
    assert typed("-m", "seed=1,2") == 0
    assert theirs.exists()
    assert "/.sweeps/2/" in (lab / "script-0").read_text()


def queue(lab: Path, state: str, submitted: float, folder: Path | str) -> None:
    """Have squeue say this of job 4711."""
    line = f"4711|{state}|Priority||low|{submitted:.0f}|N/A|{folder}/submission_file_4711.sh\n"
    (lab / "queue").write_text(line)


def test_typed_again_while_it_waits(typed: Typed, tmp_path: Path, lab: Path, capfd: Captured) -> None:
    typed()
    (run,) = runs(tmp_path)
    for what, told in (("PENDING", "queued"), ("RUNNING", "running"), ("COMPLETING", "running")):
        capfd.readouterr()
        queue(lab, what, time.time(), run.slurm / "1")
        assert typed() == 0
        assert f"{told}, job 4711 on slurm" in capfd.readouterr().out
    assert typed("fresh=true") == 2
    assert "fresh: static_dnw/default-" in capfd.readouterr().err
    assert len(list(lab.glob("script-*"))) == 1


@pytest.mark.parametrize("again", ["another's script", "submitted a year ago"])
def test_a_job_id_that_came_again_is_not_this_runs(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, again: str
) -> None:
    """A cluster that was set up anew counts its jobs from 1."""
    typed()
    (run,) = runs(tmp_path)
    if again == "another's script":
        queue(lab, "RUNNING", time.time(), "/home/somebody/else")
    else:
        queue(lab, "RUNNING", time.time() - 365 * 86400, run.slurm / "1")
    capfd.readouterr()
    assert typed() == 0
    assert "job     4711 (slurm)" in capfd.readouterr().out
    assert len(list(lab.glob("script-*"))) == 2


def test_typed_again_while_slurm_does_not_answer(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    typed()
    (run,) = runs(tmp_path)
    (lab / "bin" / "squeue").write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n"
    )
    capfd.readouterr()
    assert typed() == 2
    said = capfd.readouterr().err
    assert "squeue: slurm_load_jobs error: Unable to contact, so nobody knows whether job 4711 still" in said
    assert said.strip().endswith(f"delete {run.launch}")
    assert len(list(lab.glob("script-*"))) == 1
    run.launch.unlink()
    assert typed() == 0
    assert len(list(lab.glob("script-*"))) == 2


def test_code_of_an_earlier_version_is_gone_on_with_by_its_own_launcher(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    typed()
    (run,) = runs(tmp_path)
    as_folder(run)
    (run.code / "launch" / "node" / "agent.py").rename(run.code / "launch" / "agent.py")
    capfd.readouterr()
    assert typed() == 2
    assert f"`python {run.code}/launch/slurm.py` to go on, or fresh=true" in capfd.readouterr().err
    run.result.write_text("{}")
    assert typed() == 0  # a finished one tells its result


def test_a_sweep_typed_again_asks_slurm_for_all_runs_together(typed: Typed, lab: Path) -> None:
    """Once before and once while it holds the lock of starts, however many runs."""
    typed("-m", "width=0.05,0.1,0.2")
    (lab / "bin" / "squeue").write_text('#!/bin/sh\necho "$*" >> "$LAB/asked"\n')
    typed("-m", "width=0.05,0.1,0.2")
    assert len((lab / "asked").read_text().splitlines()) == 2


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
    run.result.write_text(json.dumps({"top1": 61.5, "macs": 42, "goodput": "of another version"}))
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


def test_a_job_of_this_machine_that_has_ended_needs_no_cancelling() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    one = Submission("local", str(ended.pid), "here", 0.0, nodes=1, nproc=1, folder="", settings={})
    submit._take_back([one])


def test_runs_that_share_a_job(typed: Typed, tmp_path: Path, lab: Path, capfd: Captured) -> None:
    """An array of two jobs, the first of one run, which is then as if it were alone."""
    words = ["-m", "width=0.05,0.1,0.2", "pack=2", "data.workers=1", "hydra.launcher.array_parallelism=1"]
    assert typed(*words, "dry_run=true") == 0
    shown = shown_script(capfd.readouterr().out)
    assert typed(*words) == 0
    script = (lab / "script-0").read_text()
    assert script == shown
    assert "#SBATCH --array=0-1%1\n" in script
    assert "#SBATCH --cpus-per-task=4\n" in script
    out = capfd.readouterr().out
    assert "note    pack=2: 3 runs in 2 jobs, up to 2 in each" in out
    prepared = runs(tmp_path)
    noted = [submission.newest(run) for run in prepared]
    together = [str(run.folder) for run in prepared[1:]]
    assert [(one.job, list(one.pack)) for one in noted if one is not None] == [
        ("4711_0", []), ("4711_1", together), ("4711_1", together)
    ]  # fmt: skip
    assert out.count("scancel 4711_0 ") == 1
    assert f"runs.py cancel {prepared[1].folder.relative_to(tmp_path)} " in out
    folder = tmp_path / "runs" / ".sweeps" / "1"
    first, second = (DelayedSubmission.load(folder / f"4711_{n}_submitted.pkl").function for n in (0, 1))
    assert isinstance(first, Job)
    assert (first.is_requeued, first.runs) == (True, 1)
    assert isinstance(second, Pack)
    assert [(one.folder, one.is_requeued, one.runs) for one in second.jobs] == [
        (run.folder, False, 2) for run in prepared[1:]
    ]
    assert second.is_requeued
    assert typed("-m", "width=0.3,0.4", "pack=2", "cluster.requeue=false") == 0
    assert "--array" not in (lab / "script-1").read_text()
    only = DelayedSubmission.load(tmp_path / "runs" / ".sweeps" / "2" / "4711_submitted.pkl").function
    assert isinstance(only, Pack)
    assert not only.is_requeued
