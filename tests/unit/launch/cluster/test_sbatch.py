"""What becomes of a submission whose outcome sbatch doesn't tell, or tells wrongly; sbatch is a stand-in."""

import json
from pathlib import Path

import pytest
from login_node import Captured, Typed, runs, runs_dir_is_empty

from dnw.runs.folder import Run
from launch.cluster.submission import newest
from launch.scheduler import handover

TIMED_OUT = "Batch job submission failed: Socket timed out on send/recv operation"
SQUEUE = """#!/bin/sh
[ -e "$LAB/away" ] && { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }
case "$*" in
*--me*)
    [ -e "$LAB/script" ] && echo "99|PENDING||$(cat "$LAB/script")"
    echo "98|PENDING||/home/somebody/else.sh" ;;
*--jobs=99*) for element in "" _0 _1; do
    echo "99$element|PENDING|Priority||low|2000000000|N/A|$(cat "$LAB/script")"
done ;;
esac
"""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "LOOK_FOR_S", -1)


def says(lab: Path, said: str, code: int, is_taken: bool) -> None:
    """Have sbatch say this, after it has submitted the job or not."""
    take = 'echo "$1" >"$LAB/script"; echo . >>"$LAB/taken"' if is_taken else ":"
    (lab / "bin" / "sbatch").write_text(f"#!/bin/sh\n{take}\n{said}\nexit {code}\n")
    (lab / "bin" / "squeue").write_text(SQUEUE)


def job_of(run: Run) -> str:
    return str(json.loads(run.launch.read_text())["job"])


@pytest.mark.parametrize(
    ("said", "code"),
    [(f"echo '{TIMED_OUT}' >&2", 1), ("echo welcome to this cluster", 0), ("echo quota >&2", 3)],
)
def test_a_job_that_slurm_has_is_submitted_whatever_sbatch_says(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, said: str, code: int
) -> None:
    says(lab, said, code, is_taken=True)
    assert typed() == 0
    told = capfd.readouterr()
    assert "job     99 (slurm)" in told.out
    assert "; but Slurm has the job: 99" in told.err
    (run,) = runs(tmp_path)
    assert job_of(run) == "99"
    assert [path.name for path in (run.slurm / "1").glob("*.pkl")] == ["99_submitted.pkl"]


def test_an_error_after_the_job_was_named(typed: Typed, tmp_path: Path, lab: Path, capfd: Captured) -> None:
    says(lab, "echo Submitted batch job 99; echo plug-in failed >&2", 1, is_taken=True)
    assert typed() == 0
    assert "sbatch: plug-in failed; but job 99 is submitted" in capfd.readouterr().err
    assert job_of(runs(tmp_path)[0]) == "99"


def test_a_job_that_slurm_does_not_have_is_refused(typed: Typed, lab: Path, capfd: Captured) -> None:
    says(lab, f"echo '{TIMED_OUT}' >&2", 1, is_taken=False)
    assert typed() == 2
    assert "Socket timed out" in capfd.readouterr().err


@pytest.mark.parametrize("sweep", [False, True])
def test_what_nobody_knows_is_looked_for_before_it_is_submitted_again(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, sweep: bool
) -> None:
    words = ["-m", "width=0.05,0.1"] if sweep else []
    says(lab, f"touch $LAB/away; echo '{TIMED_OUT}' >&2", 1, is_taken=True)
    assert typed(*words) == 2
    said = capfd.readouterr().err
    assert "nobody knows whether the job is submitted. Type the same again once Slurm answers" in said
    for again in (words, [*words, "fresh=true"]):  # Slurm is away still
        assert typed(*again) == 2
        assert "so nobody knows whether job ?" in capfd.readouterr().err
    (lab / "away").unlink()
    assert typed(*words) == 0
    assert capfd.readouterr().out.count(": queued, job 99") == 1 + sweep
    assert (lab / "taken").read_text() == ".\n"
    found = runs(tmp_path)
    assert [job_of(run) for run in found] == (["99_0", "99_1"] if sweep else ["99"])
    noted = newest(found[0])
    assert noted is not None
    names = sorted(path.name for path in Path(noted.folder).glob("*.pkl"))
    assert names == (["99_0_submitted.pkl", "99_1_submitted.pkl"] if sweep else ["99_submitted.pkl"])


def test_what_turns_out_not_to_be_there_is_submitted(typed: Typed, lab: Path, tmp_path: Path) -> None:
    says(lab, f"touch $LAB/away; echo '{TIMED_OUT}' >&2", 1, is_taken=False)
    assert typed() == 2
    (lab / "away").unlink()
    says(lab, "echo Submitted batch job 99", 0, is_taken=True)
    assert typed() == 0
    assert job_of(runs(tmp_path)[0]) == "99"


def test_a_sweep_over_the_largest_array_holds_its_limit_over_all(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    """The second array of a lane waits for the first one."""
    config = (lab / "bin" / "scontrol").read_text().replace('"KillReady = x"', '"MaxArraySize = 2"')
    (lab / "bin" / "scontrol").write_text(config)
    number = 'n=$(ls "$LAB" | grep -c script-); cp "$1" "$LAB/script-$n"; echo "Submitted batch job 47$n"'
    (lab / "bin" / "sbatch").write_text(f"#!/bin/sh\n{number}\n")
    assert typed("-m", "seed=range(6)", "cluster.array_parallelism=2") == 0
    assert "6 runs in 4 job arrays, since Slurm takes 2 in one at most" in capfd.readouterr().out
    scripts = [(lab / f"script-{number}").read_text().splitlines() for number in range(4)]
    asked = [
        sorted(line for line in lines if line.startswith(("#SBATCH --array", "#SBATCH --depend")))
        for lines in scripts
    ]
    assert asked == [
        [],  # of one run
        ["#SBATCH --array=0-1%1", "#SBATCH --dependency=afterany:470"],
        [],
        ["#SBATCH --array=0-1%1", "#SBATCH --dependency=afterany:472"],
    ]
    assert sorted(map(job_of, runs(tmp_path))) == ["470", "471_0", "471_1", "472", "473_0", "473_1"]


@pytest.mark.parametrize("where", ["SBATCH_CLUSTERS", "SLURM_CLUSTERS", "option", "srun"])
def test_no_job_goes_to_another_cluster(
    typed: Typed, tmp_path: Path, capfd: Captured, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {
        "option": ["cluster.additional_parameters={clusters: big}"],
        "srun": ['cluster.srun_args=["--clusters=big"]'],
    }
    if where not in words:
        monkeypatch.setenv(where, "big")
    assert typed(*words.get(where, [])) == 2
    said = capfd.readouterr().err
    assert "jobs on another cluster can't be found" in said
    assert said.count("\n") == 1
    assert runs_dir_is_empty(tmp_path)
