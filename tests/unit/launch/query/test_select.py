"""Which runs a word means."""

from pathlib import Path

import pytest
from run_folder import make

from dnw.runs.folder import Run
from launch.errors import LaunchError
from launch.query.select import below, select_runs, selection


@pytest.fixture
def three(tmp_path: Path) -> list[Run]:
    names = ("default-aaaa000000", "width=0.1-bbbb000000", "width=0.1,seed=1-cccc000000")
    return [make(tmp_path / "runs", name) for name in names]


def test_all_of_them_but_what_was_moved_aside_or_is_being_made(tmp_path: Path, three: list[Run]) -> None:
    make(tmp_path / "runs", "default-aaaa000000.old-20261123-010203-004")
    make(tmp_path / "runs", ".preparing-x1y2")
    (tmp_path / "runs" / ".sweeps" / "1").mkdir(parents=True)
    assert sorted(run.name for run in select_runs([], tmp_path / "runs")) == sorted(run.name for run in three)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("example/default-aaaa000000", 0),
        ("example/default-aaaa000000/", 0),
        ("example/default", 0),
        ("default", 0),
        ("bbbb", 1),
        ("width=0.1-", 1),
        ("cccc000000", 2),
    ],
)
def test_as_much_of_a_name_as_fits_one(tmp_path: Path, three: list[Run], word: str, found: int) -> None:
    assert select_runs([word], tmp_path / "runs") == [three[found]]


def test_a_whole_name_is_meant_before_the_beginning_of_another(tmp_path: Path) -> None:
    short = make(tmp_path / "runs", "default-aa")
    make(tmp_path / "runs", "default-aabb")
    assert select_runs(["example/default-aa"], tmp_path / "runs") == [short]


def test_a_folder_wherever_it_lies(tmp_path: Path, three: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(three[0].folder)
    assert select_runs(["."], Path("runs")) == [three[0]]
    assert select_runs([str(three[1].folder)], Path("runs")) == [three[1]]


def test_each_once_in_the_order_typed(tmp_path: Path, three: list[Run]) -> None:
    assert select_runs(["cccc", "aaaa", "cccc"], tmp_path / "runs") == [three[2], three[0]]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "width",
            "width: fits 2 runs: example/width=0.1,seed=1-cccc000000, example/width=0.1-bbbb000000",
        ),
        ("example/defolt-aaaa000000", "did you mean example/default-aaaa000000?"),
        ("dddd", r"dddd: no run of this name below \S+/runs$"),
    ],
)
def test_a_word_that_fits_none_or_several(tmp_path: Path, three: list[Run], word: str, said: str) -> None:
    with pytest.raises(LaunchError, match=said.replace("?", r"\?")) as error:
        select_runs([word], tmp_path / "runs")
    assert len(str(error.value).splitlines()) == 1


def test_a_word_means_the_same_run_at_every_look(tmp_path: Path, three: list[Run]) -> None:
    runs_dir = tmp_path / "runs"
    named, whole = selection(["bbbb"], runs_dir), selection([], runs_dir)
    assert (named(), len(whole())) == ([three[1]], 3)
    make(runs_dir, "width=0.2-bbbb111111")
    assert (named(), len(whole())) == ([three[1]], 4)
    with pytest.raises(LaunchError, match=r"^bbbb: fits 2 runs"):
        selection(["bbbb"], runs_dir)


def test_no_folder_of_runs(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"nowhere: no such folder; .* --runs-dir"):
        below(tmp_path / "nowhere")
