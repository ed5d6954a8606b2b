"""The launcher on a real Slurm: two nodes."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from worker import assert_same_weights, losses

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm import events
from slurm.cluster import Cluster
from slurm.events import ROOT, all_logs, finishes, job_of, steps, the_run, typed
from slurm.job import fields, state, submit, until

pytestmark = pytest.mark.xdist_group("slurm runs")


def test_two_nodes_train_together(cluster: Cluster, undisturbed: Run) -> None:
    until(lambda: state(cluster, job_of(undisturbed)) == "COMPLETED")
    (attempt,) = ledger.read(undisturbed)
    assert attempt.start is not None
    assert attempt.start["world"] == 2
    assert attempt.claim is not None
    assert len(attempt.claim["hosts"]) == 2
    assert fields(cluster, job_of(undisturbed))["NumNodes"] == "2"
    assert sorted(log.name for log in undisturbed.logs.iterdir()) == ["001-0.log", "001-1.log"]
    assert list(undisturbed.claims.iterdir()) == []


def test_typed_again_it_says_what_is_there(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    everything = submit(cluster, "sleep 1000", "--nodes=4", "--exclusive", "--partition=high")
    until(lambda: state(cluster, everything) == "RUNNING")
    try:
        typed(cluster, few_images, tmp_path)
        run = the_run(tmp_path)
        assert f"queued, job {job_of(run)} on slurm" in typed(cluster, few_images, tmp_path)
    finally:
        cluster.run("scancel", everything)
    until(lambda: steps(run) > 0)
    assert f"running, attempt 1 (job {job_of(run)}, process" in typed(cluster, few_images, tmp_path)
    finishes(run)
    assert "finished" in typed(cluster, few_images, tmp_path)
    assert_same_weights(run, undisturbed)


def stopped(cluster: Cluster, shards: Path, here: Path, root: Path = ROOT) -> tuple[Run, int]:
    """A run that was cancelled on its way, and after which step."""
    typed(cluster, shards, here, root=root)
    run = the_run(here)
    until(lambda: steps(run) >= 5)
    events.cancelled(cluster, run)
    last = ledger.last(run)
    assert last is not None
    assert last.reason == "stopped", all_logs(run)
    assert last.last_step is not None
    return run, last.last_step


@pytest.mark.parametrize(
    "words",
    [["nodes=1", "nproc=1"], pytest.param(["nodes=4", "nproc=1"], marks=pytest.mark.soak)],
    ids=" ".join,
)
def test_resumed_on_another_number_of_nodes(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, words: list[str]
) -> None:
    """The same global batches, sample for sample; the loss is the same to rounding."""
    run, step = stopped(cluster, few_images, tmp_path)
    typed(cluster, few_images, tmp_path, *words)
    finishes(run)
    second = ledger.read(run)[1]
    assert second.start is not None
    assert (second.start["step"], second.start["nodes"]) == (step, int(words[0][-1]))
    assert events.samples_by_step(run) == events.samples_by_step(undisturbed)
    ours, theirs = losses(run), losses(undisturbed)
    near = range(1, step + 6)  # rounding grows with every edge that is chosen otherwise
    assert [ours[n] for n in near] == pytest.approx([theirs[n] for n in near], rel=1e-3)


def working_tree(here: Path) -> Path:
    """A working tree to edit."""
    tree = here / "tree"
    for name in ("launch", "dnw", "shards", "configs", "hydra_plugins"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


def test_what_was_edited_meanwhile_changes_nothing(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    tree = working_tree(tmp_path)
    run, step = stopped(cluster, few_images, tmp_path, root=tree)
    trainer = tree / "dnw" / "training" / "trainer.py"
    trainer.write_text(f"raise SystemExit('edited')\n{trainer.read_text()}")
    typed(cluster, few_images, tmp_path, root=tree)
    finishes(run)
    assert ledger.read(run)[1].first_step == step
    assert_same_weights(run, undisturbed)


def test_new_code_is_taken_over_where_it_is_asked_for(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    tree = working_tree(tmp_path)
    run, step = stopped(cluster, few_images, tmp_path, root=tree)
    trainer = tree / "dnw" / "training" / "trainer.py"
    trainer.write_text(f"{trainer.read_text()}\nprint('the present code')\n")
    said = typed(cluster, few_images, tmp_path, "code=new", root=tree)
    assert "takes over what differs here: dnw/training/trainer.py" in said
    finishes(run)
    (change,) = json.loads(run.result.read_text())["code_changes"]
    assert (change["attempt"], change["step"]) == (2, step)
    logs = {
        number: "".join(log.read_text() for log in run.logs.glob(f"{number}-*")) for number in ("001", "002")
    }
    assert ["the present code" in logs[number] for number in logs] == [False, True]
    assert_same_weights(run, undisturbed)  # what is printed changes no bit


def test_two_jobs_of_one_run(cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run) -> None:
    """However the second one came to be: one works, the other says who does."""
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= 3)
    script = next(run.slurm.glob("1/*_submission.sh"))
    second = cluster.run("sbatch", "--parsable", f"--output={tmp_path}/second", str(script)).strip()
    shutil.copy(run.slurm / "1" / f"{job_of(run)}_submitted.pkl", run.slurm / "1" / f"{second}_submitted.pkl")
    until(lambda: state(cluster, second) == "FAILED")
    printed = "".join(log.read_text() for log in run.slurm.glob(f"1/{second}_*log.err"))
    assert f"held by attempt 1 (job {job_of(run)}, process" in printed
    finishes(run)
    assert len(ledger.read(run)) == 1
    assert_same_weights(run, undisturbed)


def has_done(run: Run, step: int) -> bool:
    return steps(run) >= step


def has_begun(run: Run, attempt: int) -> bool:
    return len(ledger.read(run)) >= attempt


def test_a_node_that_failed_twice_is_left(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    for attempt, step in ((1, 6), (2, 12)):
        until(partial(has_done, run, step))
        node = events.nodes_of(cluster, run)[1]
        events.worker_killed(cluster, run)
        until(partial(has_begun, run, attempt + 1))
    finishes(run)
    first, second, third = ledger.read(run)
    assert [attempt.end["node"] for attempt in (first, second) if attempt.end] == [node, node]
    assert third.claim is not None
    assert node not in third.claim["hosts"]
    assert fields(cluster, job_of(run))["ExcNodeList"] == node
    assert f"{node} excluded from now on: failed twice, or unfit" in all_logs(run)
    assert_same_weights(run, undisturbed)
