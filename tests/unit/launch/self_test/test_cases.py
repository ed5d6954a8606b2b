from pathlib import Path

import pytest
from example import train as example

from dnw.processes import check_processes
from dnw.runs.folder import Run
from launch.self_test import cases
from launch.self_test.cases import FAMILIES, FULL, LARGE, SMALL, Case


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("processes", [1, 2, 6, 8, 16, 24])
def test_all_processes_can_share_each_case(size: cases.Size, processes: int) -> None:
    for family in FAMILIES:
        found = cases.settings(example(), Case("x", "x.1", 1, processes, family), size, processes)
        for some in {processes, *(count for count in (1, 2, 4, 8) if count <= processes)}:
            check_processes(found, some, "x")
    full = cases.settings(example(), Case("x", "x.1", 1, processes, "mobilenet", FULL), size, processes)
    assert full.batch == 64 * cases.micro_batches(processes)


def test_evaluations_come_where_faults_are_put_in() -> None:
    for processes in (1, 2, 8, 12):
        found = cases.settings(example(), Case("x", "x.1", 1, 1), SMALL, processes)
        samples = cases.samples(SMALL, processes)
        assert samples["train"] == 4 * found.batch  # an epoch ends at step 4
        assert samples["val"] == 4 * processes * found.eval_batch  # each process looks up four times


def test_of_several_runs_of_a_case_the_newest_finished_one_counts(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert cases.done(run, "exact-1") is None
    for folder, is_done in (
        ("exact-1.2", True),
        ("exact-1.9", True),
        ("exact-1.10", False),
        ("exact-10.11", True),
    ):
        result = cases.run_of(run, folder).result
        result.parent.mkdir(parents=True)
        if is_done:
            result.write_text("{}")
    assert cases.done(run, "exact-1") == cases.run_of(run, "exact-1.9")
