"""Real processes: one that is slowed on purpose is named, and one whose node is unfit ends the attempt."""

from pathlib import Path

import pytest
from worker import prepare, train
from workers.soon_slow import STEPS

from dnw.runs import jsonl, ledger
from launch.query.progress import progress


def test_a_slow_rank_is_named(tmp_path: Path, few_images: Path) -> None:
    sizes = {"batch": 4, "micro_batch": 2, "eval_every_epochs": 1000}  # short steps beside the sleep in one
    run = prepare(tmp_path / "run", few_images, steps=40, **sizes)
    code, output = train(run, 2, "1:load:SLOW", worker="workers.soon_slow", DNW_NODE="n7")
    assert code == 0, output
    assert "rank 1 (n7, cpu) is slow: its own part of a step takes" in output
    told, *_ = [line for line in jsonl.read(run.metrics) if line["kind"] == "slow"]
    assert (told["rank"], told["place"], told["is_slow"]) == (1, "n7, cpu", True)
    assert told["ratio"] > 1.5
    assert told["step"] >= STEPS
    (shown,) = progress(run, ledger.read(run)).slow
    assert shown.startswith(f"rank 1 (n7, cpu) takes {told['ratio']:.1f} times the median, seen at step ")


@pytest.mark.parametrize("nproc", [1, 2])
def test_a_node_that_is_unfit(tmp_path: Path, few_images: Path, nproc: int) -> None:
    """More workers than /dev/shm has place for."""
    run = prepare(tmp_path / "run", few_images, steps=2, data__workers=2**30)
    code, output = train(run, nproc, DNW_NODE="n7")
    assert code == 1, output
    assert "Traceback" not in output
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert (last.reason, last.end["fault"], last.end["host"]) == ("unfit", "node", "n7")
    assert last.end["detail"].startswith("rank 0 (n7, cpu): /dev/shm has ")
    assert not list(run.checkpoints.glob("*"))
