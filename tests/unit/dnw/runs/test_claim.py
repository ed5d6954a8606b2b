"""Who may write to a run: the newest attempt, and none before it."""

from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.claim import Claim, SupersededError
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "default-0123456789")
    run.checkpoints.mkdir(parents=True)
    return run


def test_what_an_attempt_writes_is_published_whole(run: Run) -> None:
    claim = Claim.take_over(run)
    path = run.checkpoints / "step.pt"
    with claim.replacing(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(claim.folder.iterdir()) == []


def test_an_attempt_that_was_passed_over_publishes_nothing(run: Run) -> None:
    path = run.checkpoints / "step.pt"
    first = Claim.take_over(run)
    with first.replacing(path) as file:
        file.write(b"first")
    Claim.take_over(run)
    assert not first.holds()
    with pytest.raises(SupersededError, match=r"attempt 1 writes no more, attempt 2 has taken over"):
        first.check()
    with pytest.raises(SupersededError), first.replacing(path) as file:
        file.write(b"first again")
    assert path.read_bytes() == b"first"


def test_taken_over_while_it_writes(run: Run) -> None:
    """However late the last word of the earlier attempt comes."""
    path = run.checkpoints / "step.pt"
    first = Claim.take_over(run)
    with pytest.raises(SupersededError), first.replacing(path) as file:  # noqa: PT012
        file.write(b"half")
        Claim.take_over(run)
        file.write(b"and the rest")
    assert not path.exists()
    assert [folder.name for folder in run.claims.iterdir()] == ["002"]


def test_the_next_attempt_in_place_of_one(run: Run) -> None:
    first = Claim.take_over(run)
    second = first.next()
    assert (second.number, second.holds(), first.holds()) == (2, True, False)


@pytest.mark.parametrize("number", [2, 3])
def test_whoever_was_passed_over_begins_nothing(run: Run, number: int) -> None:
    """Also where the one who took over is done already."""
    first = Claim.take_over(run)
    ledger.claim(run, number - 1)
    other = Claim.take_over(run)
    assert other.number == number
    with pytest.raises(SupersededError):
        first.next()
    assert other.holds()
    other.release()
    with pytest.raises(SupersededError):
        first.next()
    assert list(run.claims.iterdir()) == []


def test_a_number_is_claimed_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another process claims it between the look and the deed."""
    Claim.take_over(run)
    monkeypatch.setattr(Claim, "newest", lambda _run: 0)
    with pytest.raises(HeldError, match="attempt 1 was begun by another job just now"):
        Claim.take_over(run)


def test_a_block_that_fails_leaves_nothing(run: Run) -> None:
    claim = Claim.take_over(run)
    with pytest.raises(KeyError), claim.replacing(run.checkpoints / "step.pt") as file:  # noqa: PT012
        file.write(b"half")
        raise KeyError
    assert list(claim.folder.iterdir()) == list(run.checkpoints.iterdir()) == []


def test_a_missing_folder_is_no_matter_of_claims(run: Run) -> None:
    claim = Claim.take_over(run)
    with pytest.raises(FileNotFoundError), claim.replacing(run.folder / "nowhere" / "file") as file:
        file.write(b"")


def test_nodes_report_to_the_first(run: Run) -> None:
    ledger.claim(run, 2)
    claim = Claim.take_over(run)
    assert claim.look() == "works"
    claim.report(1, has_failed=True, code=137)
    assert claim.look() == "failed"
    Claim(run, 3).report(0, code=1)
    assert claim.reports() == {0: {"code": 1}, 1: {"code": 137}}
    assert Claim.newest(run) == 3
    claim.release()
    assert claim.look() == "superseded"
    assert Claim.newest(run) == 0
    with pytest.raises(SupersededError, match="it was stopped meanwhile"):
        claim.check()
