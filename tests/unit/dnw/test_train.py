"""The worker's command: who begins an attempt, where it starts, and what is told of an error, by whom."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
import torch
from run_folder import make
from training_steps import trainer

from dnw import train
from dnw.config import ConfigError, load
from dnw.identity import signature
from dnw.preemption import StopRequest
from dnw.runs import ledger
from dnw.runs.claim import Claim
from dnw.runs.folder import step_path
from dnw.runs.lock import HeldError
from dnw.training import checkpoint
from dnw.training.checkpoint import CheckpointError, Identity, Position


@pytest.fixture(autouse=True)
def started_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DNW_ATTEMPT", "RANK"):
        monkeypatch.delenv(name, raising=False)


def test_the_first_rank_tells_what_all_refuse_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train.main([str(tmp_path)], StopRequest()) == 1
    assert "is no run folder" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(train, "FIRST_S", 0.05)
    with pytest.raises(ConfigError):  # the first one has ended nobody in time
        train.main.__wrapped__([str(tmp_path)], StopRequest())  # type: ignore[attr-defined]
    told = StopRequest()
    told.signal = signal.SIGTERM
    assert train.main([str(tmp_path)], told) == 1
    assert capsys.readouterr().err == ""


def test_an_attempt_of_the_launcher_is_taken_over_and_of_other_ranks_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path)
    monkeypatch.setenv("RANK", "1")
    with train._claimed(run) as claim:
        assert claim.number == train.UNKNOWN
    monkeypatch.setenv("DNW_ATTEMPT", "7")
    with train._claimed(run) as claim:
        assert claim.number == 7
    assert ledger.last(run) is None


def test_without_a_launcher_the_first_rank_begins_an_attempt_of_its_own(tmp_path: Path) -> None:
    run = make(tmp_path)
    with train._claimed(run) as claim:
        assert (claim.number, claim.holds()) == (1, True)
        last = ledger.last(run)
        assert last is not None
        assert last.claim is not None
        assert last.claim["job"] == "-"
        with pytest.raises(HeldError), train._claimed(run):
            pass
    assert not claim.holds()


def test_it_begins_with_a_checkpoint_of_the_beginning(tmp_path: Path) -> None:
    run = make(tmp_path)
    config = load(run.config)
    claim, made = Claim.take_over(run), trainer(config)
    identity = Identity(config.exp, signature(config), "", "")
    train._begin(claim, made, identity)
    assert made.position == Position(world=1)
    kept = checkpoint.read(run.checkpoints / "init.pt")
    assert all(torch.equal(kept.model[name], value) for name, value in made.snapshot(identity).model.items())


def test_it_goes_on_from_the_newest_whole_checkpoint_of_this_run(tmp_path: Path) -> None:
    run = make(tmp_path)
    config = load(run.config)
    identity = Identity(config.exp, signature(config), "", "")
    before = trainer(config)
    for step in (4, 8):
        before.position = Position(step=step, consumed=32 * step, world=1)
        torch.nn.init.constant_(before.model.get_parameter("fc.bias"), step)
        checkpoint.write(step_path(run.checkpoints, step), checkpoint.encode(before.snapshot(identity)))
    newest = step_path(run.checkpoints, 8)
    newest.write_bytes(newest.read_bytes()[:-100])
    made = trainer(config)
    train._begin(Claim.take_over(run), made, identity)
    assert (made.position.step, made.position.consumed) == (4, 128)
    assert made.model.get_parameter("fc.bias").tolist() == [4] * 10
    with pytest.raises(CheckpointError, match="belongs to another run"):
        train._begin(Claim.take_over(run), trainer(config), Identity(config.exp, "another", "", ""))


@pytest.mark.parametrize("place", ["weight", "momentum", "meter"])
def test_what_is_not_finite_is_refused_until_it_is_moved_away(tmp_path: Path, place: str) -> None:
    """As an earlier version, or a fault of the memory, has left it under a right digest."""
    run = make(tmp_path)
    config = load(run.config)
    identity = Identity(config.exp, signature(config), "", "")
    before = trainer(config)
    for step in (4, 8):
        before.position = Position(step=step, consumed=32 * step, world=1)
        saved = before.snapshot(identity)
        if step == 8:
            held = {"weight": saved.model["fc.bias"], "meter": saved.meter, "momentum": torch.zeros(3)}
            saved.optimizer.setdefault("state", {})[0] = {"momentum_buffer": held["momentum"]}
            held[place].view(-1)[0] = math.nan
        checkpoint.write(step_path(run.checkpoints, step), checkpoint.encode(saved))
    newest = step_path(run.checkpoints, 8)
    with pytest.raises(CheckpointError, match=f"{newest}: values that aren't finite, in .*: move it away"):
        train._begin(Claim.take_over(run), trainer(config), identity)
    newest.rename(tmp_path / "away.pt")
    made = trainer(config)
    train._begin(Claim.take_over(run), made, identity)
    assert made.position.step == 4


def test_it_goes_on_with_the_same_classes_alone(tmp_path: Path) -> None:
    """A checkpoint without names, as of earlier versions, goes with any."""
    run = make(tmp_path)
    config = load(run.config)
    named = [
        Identity(config.exp, signature(config), "", "", classes)
        for classes in (None, tuple("abcdefghij"), tuple("abdcefghij"))
    ]
    for saved, ours in ((0, 1), (1, 1), (1, 0)):
        content = checkpoint.encode(trainer(config).snapshot(named[saved]))
        checkpoint.write(step_path(run.checkpoints, 4), content)
        train._begin(Claim.take_over(run), trainer(config), named[ours])
    with pytest.raises(
        CheckpointError,
        match="classes: the same classes in another order: class 2 is 'c' and 'd' in this run\nmove it away",
    ):
        train._begin(Claim.take_over(run), trainer(config), named[2])


def test_the_traceback_of_a_loader_is_left_out() -> None:
    error = ConfigError("Caught it in worker 0.\nTraceback ...\ndnw.ConfigError: width: what to do\n")
    assert train._own_words(error) == "width: what to do"
    assert train._own_words(ConfigError("width: what to do")) == "width: what to do"
