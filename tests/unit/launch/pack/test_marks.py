from pathlib import Path

from dnw.runs.folder import Run
from launch.pack.marks import Marks

RUNS = [Run(Path("/runs", exp, name)) for exp, name in (("a", "x-1"), ("b", "x-1"), ("b", "y-2"))]


def test_marks_of_runs(tmp_path: Path) -> None:
    """Two of them differ in the experiment alone."""
    marks = Marks(tmp_path)
    assert [marks.of(run) for run in RUNS] == ["", "", ""]
    assert (marks.cancelled(RUNS), marks.unmarked(RUNS)) == (set(), set(RUNS))
    marks.end(RUNS[0])
    marks.cancel(RUNS[2])
    assert [Marks(tmp_path).of(run) for run in RUNS] == ["ended", "", "cancelled"]
    assert (marks.cancelled(RUNS), marks.unmarked(RUNS)) == ({RUNS[2]}, {RUNS[1]})


def test_one_that_ends_after_it_was_cancelled(tmp_path: Path) -> None:
    """Was cancelled: what it had to say comes later, again and again perhaps."""
    marks = Marks(tmp_path)
    for _ in range(2):
        marks.cancel(RUNS[0])
        marks.end(RUNS[0])
    assert marks.of(RUNS[0]) == "cancelled"
