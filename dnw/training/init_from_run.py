"""Initialize a run from another run's weights: wiring=fine_tune and wiring=one_shot."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from dnw.config import ConfigError, Train, load
from dnw.identity import signature
from dnw.runs.folder import Run, finished, newest_step, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import CheckpointError
from dnw.training.finite import check_finite, not_finite_by_design
from dnw.training.state_dict_diff import state_dict_diff
from dnw.wiring import Choice

_MASK = "parametrizations.weight.0.mask"


def init_from_run(train: Train, model: nn.Module) -> None:
    """Give `model` the edges that are strongest in the last weights of wiring.source, and its weights.

    With fine_tune these are the last ones, with one_shot those that the source began with; norms and running
    statistics come along. Every rank reads the files itself.

    Raises:
        ConfigError: the source is gone, is no longer the run it was, or has not finished.
        CheckpointError: its weights are damaged, not finite, or those of another network.
    """
    source = Run(Path(train.wiring.source))
    _check(source, train)
    step = newest_step(source.checkpoints)
    assert step is not None  # it has finished
    last = _weights(step_path(source.checkpoints, step), train, model)
    model.load_state_dict({**model.state_dict(), **last})
    Choice(model).begin()
    if train.wiring.name == "one_shot":
        first = _weights(source.checkpoints / "init.pt", train, model)
        model.load_state_dict({**model.state_dict(), **first})


def _check(source: Run, train: Train) -> None:
    if not source.config.exists():
        raise ConfigError(
            f"wiring.source: {source.folder} is gone; bring it back, or type the command of this run again "
            "with wiring.source= where it is now"
        )
    found = signature(load(source.config))
    if found != train.wiring.source_signature:
        raise ConfigError(
            f"wiring.source: {source.folder} is another run than it was: its signature is {found}, "
            f"this run was prepared for {train.wiring.source_signature}"
        )
    if not finished(source):
        raise ConfigError(f"wiring.source: {source.folder} has not finished; let it, then start this run")


def _weights(path: Path, train: Train, model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a checkpoint of the source, if they fit."""
    saved = checkpoint.read(path)
    if saved.identity.signature != train.wiring.source_signature:
        raise CheckpointError(
            f"{path}: belongs to another run ({saved.identity.signature}, not "
            f"{train.wiring.source_signature}); bring back the right one"
        )
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_MASK)}
    if differing := state_dict_diff(saved.model, wanted):
        raise CheckpointError(f"{path}: weights of another network\n{differing}")
    check_finite(path, saved, not_finite_by_design(model), "name another run with wiring.source=")
    return saved.model
