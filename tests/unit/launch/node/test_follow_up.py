"""What is submitted where there is no scontrol; sbatch is a stand-in that notes what it is asked."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dnw.runs.folder import Run
from launch.node import follow_up
from launch.node.topology import Node
from launch.pack.marks import Marks
from launch.query.run_status import query_status

SCRIPT = """#!/bin/bash
#SBATCH --exclude=n8,n9
#SBATCH --output='{folder}/%j_0_log.out'
srun /bin/sh {folder}/start.sh python {folder} {folder}0
"""
NOTE = {"cluster": "slurm", "host": "n0", "time": 0, "nodes": 1, "nproc": 1, "settings": {}}
SBATCH = """#!/bin/sh
for word; do :; done
echo "$word" >"$(dirname "$0")/script"
{ echo "$*"; env | grep -E '^(SLURM|SBATCH)_'; } >"$(dirname "$0")/asked"
[ -e "$(dirname "$0")/late" ] && { echo "sbatch: error: Socket timed out" >&2; exit 1; }
[ -e "$(dirname "$0")/refuses" ] && { echo "sbatch: error: no" >&2; exit 1; }
echo "Submitted batch job 17"
"""
SQUEUE = """#!/bin/sh
echo "7|RUNNING|n1|$(dirname "$(dirname "$0")")/run/slurm/1/7_submission.sh"
[ -e "$(dirname "$0")/late" ] && echo "17|PENDING||$(tail -n 1 "$(dirname "$0")/script")"
exit 0
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    for name, value in {"SLURM_JOB_ID": "7", "SBATCH_TIMELIMIT": "5", "SBATCH_ACCOUNT": "phys"}.items():
        monkeypatch.setenv(name, value)
    return folder


def submitted(folder: Path, job: str) -> tuple[Run, Node]:
    """A run at which a job works."""
    run = Run(folder / "run")
    files = run.slurm / "1"
    files.mkdir(parents=True)
    (files / f"{job.partition('_')[0]}_submission.sh").write_text(SCRIPT.format(folder=files))
    (files / "start.sh").write_text("exec")
    (files / f"{job}_submitted.pkl").write_bytes(b"what to do")
    run.launch.write_text(json.dumps(NOTE | {"job": job, "folder": str(files)}))
    return run, Node(0, 1, "", job, 0, ("n1",), in_slurm=True)


@pytest.mark.parametrize(
    ("job", "array", "follows"), [("7", "", "17"), ("7_3", " --array=3", "17_3")], ids=["job", "element"]
)
def test_the_script_once_more(tmp_path: Path, tools: Path, job: str, array: str, follows: str) -> None:
    run, node = submitted(tmp_path, job)
    assert follow_up.submit(run, node, ["n2"]) is None
    said, *variables = (tools / "asked").read_text().splitlines()
    new = run.slurm / "2"
    assert said == f"--dependency=afterany:{job}{array} --exclude=n8,n9,n2 {new}/job_submission.sh"
    text = (new / "job_submission.sh").read_text()
    assert text == SCRIPT.format(folder=new).replace(f"{new}0", f"{run.slurm / '1'}0")
    assert (new / "start.sh").read_text() == "exec"
    assert variables == ["SBATCH_ACCOUNT=phys", "SBATCH_TIMELIMIT=5"]
    noted = json.loads(run.launch.read_text())
    assert (noted["job"], noted["folder"]) == (follows, str(new))
    assert (new / f"{job.partition('_')[2] or 0}.pkl").read_bytes() == b"what to do"


def test_a_refusal_changes_nothing(tmp_path: Path, tools: Path) -> None:
    run, node = submitted(tmp_path, "7")
    (tools / "refuses").touch()
    noted = run.launch.read_text()
    assert follow_up.submit(run, node) == "sbatch: no"
    assert json.loads(run.launch.read_text()) == json.loads(noted)
    assert [path.name for path in run.slurm.iterdir()] == ["1"]


def test_a_job_that_slurm_has_whatever_sbatch_says(tmp_path: Path, tools: Path) -> None:
    """It is told from the job that it follows, and from others of the same array, by a folder of its own."""
    run, node = submitted(tmp_path, "7_3")
    (tools / "late").touch()
    assert follow_up.submit(run, node) is None
    assert json.loads(run.launch.read_text())["job"] == "17_3"


def test_where_nobody_knows(tmp_path: Path, tools: Path) -> None:
    run, node = submitted(tmp_path, "7")
    (tools / "late").touch()
    (tools / "squeue").write_text("#!/bin/sh\necho welcome\n")
    said = follow_up.submit(run, node) or ""
    assert said.startswith(
        "nobody knows whether a job follows (sbatch: Socket timed out; squeue: prints what"
    )
    noted = json.loads(run.launch.read_text())
    assert (noted["job"], noted["folder"]) == ("?", str(run.slurm / "2"))
    (tools / "squeue").write_text(SQUEUE)
    ((one,), _) = query_status([run])
    assert one.submission is not None
    assert one.submission.job == "17"


def test_a_job_whose_id_nobody_knew_is_followed_like_any_other(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its folder it knows that it is the newest submission."""
    run, node = submitted(tmp_path, "7")
    run.launch.write_text(json.dumps({"job": "?", "folder": str(run.slurm / "1")}))
    assert follow_up.submit(run, node) == f"no script of job 7 in {run.slurm / '1'}"
    monkeypatch.setenv("DNW_SUBMISSION", str(run.slurm / "1"))
    assert follow_up.submit(run, node) is None
    assert json.loads(run.launch.read_text())["job"] == "17"


def test_where_there_is_no_sbatch_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    run, node = submitted(tmp_path, "7")
    assert "No such file or directory: 'sbatch'" in (follow_up.submit(run, node) or "")


def test_a_run_that_another_job_works_on_by_now(tmp_path: Path, tools: Path) -> None:
    run, node = submitted(tmp_path, "7")
    run.launch.write_text(json.dumps({"job": "8", "folder": str(run.slurm / "1")}))
    assert follow_up.submit(run, node) == f"no script of job 7 in {run.slurm / '1'}"
    assert not (tools / "asked").exists()


def test_each_submission_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Beside what somebody has copied there."""
    parent = tmp_path / "sweeps"
    for name in ("3", "7 (copy)", "8.old", "9~"):
        (parent / name).mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(follow_up.make_folder, [parent] * 8))
    assert sorted(int(folder.name) for folder in made) == list(range(4, 12))


def test_all_runs_that_a_job_works_on_go_on_with_it(tmp_path: Path, tools: Path) -> None:
    """Each keeps what was noted of its own submission; those that are marked are not started by it either."""
    run, node = submitted(tmp_path, "7_3")
    other = Run(tmp_path / "other")
    other.folder.mkdir()
    folder = run.slurm / "1"
    other.launch.write_text(json.dumps(NOTE | {"job": "7_3", "folder": str(folder), "words": ["seed=1"]}))
    Marks(folder).end(Run(tmp_path / "third"))
    assert follow_up.submit(run, node, others=[other]) is None
    new = run.slurm / "2"
    for one, words in ((run, None), (other, ["seed=1"])):
        noted = json.loads(one.launch.read_text())
        assert (noted["job"], noted["folder"], noted.get("words")) == ("17_3", str(new), words)
    assert Marks(new).of(Run(tmp_path / "third")) == "ended"
