"""Whether a network in training has diverged: found where values are read anyway, never in a step.

- The loss of each log interval is summed on the device and read at its end; a single nan makes the sum nan,
  on all ranks alike. Beside it each rank counts its micro-batches until its own sum isn't finite, which
  tells the step.
- A checkpoint is checked in host memory, by the thread that writes it. One with a value that isn't finite is
  not published; all ranks learn of it by what they exchange after each step.

Then, and only then, every rank looks through its weights, momenta and running statistics.
"""

from __future__ import annotations

from torch import Tensor

from dnw import schedule
from dnw.runs.divergence import Divergence
from dnw.training.finite import is_finite, tensors
from dnw.training.trainer import Trainer

_KINDS = {"running_mean": "running statistics", "running_var": "running statistics"}


class DivergedError(RuntimeError):
    """The run has diverged; all ranks raise it after the same step, unless `cause` says otherwise."""

    def __init__(self, found: Divergence) -> None:
        super().__init__(found.summary)
        self.found = found


def diagnose(trainer: Trainer, what: str) -> Divergence:
    """Return what isn't finite, and where first; all ranks together.

    Args:
        trainer: after the step in which it was found.
        what: is not finite, as far as it is known by then: "the loss".
    """
    places = [name for name, _ in _places(trainer)]
    bad = _bad(trainer)
    told = trainer.world.gather([trainer.first_lost(), len(bad), bad[0] if bad else len(places)])
    lost, numbers, firsts = told[::3], told[1::3], told[2::3]
    first, step = min(firsts), trainer.position.step
    rank = firsts.index(first)
    if any(lost):
        number, rank = min((number, rank) for rank, number in enumerate(lost) if number)
        what, step = "the loss", trainer.metered_from + (number - 1) // trainer.micro_batches + 1
    return Divergence(
        step=step,
        what=what,
        rate=_rate(trainer, step),
        rank=rank,
        layer=places[first] if first < len(places) else "",
        tensors=f"{max(numbers)} of {len(places)}",
    )


def diagnose_alone(trainer: Trainer, error: Exception) -> Divergence | None:
    """Return what isn't finite on this rank, if that is behind an exception; None: all of it is finite.

    A solver gives up, say, on what a diverged network computes.
    """
    places, bad = [name for name, _ in _places(trainer)], _bad(trainer)
    if not bad:
        return None
    step = trainer.position.step
    return Divergence(
        step=step,
        what="a weight or statistic",
        rate=_rate(trainer, step),
        rank=trainer.world.rank,
        layer=places[bad[0]],
        tensors=f"{len(bad)} of {len(places)}",
        cause=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
    )


def _rate(trainer: Trainer, step: int) -> float:
    per_epoch = trainer.samples / trainer.train.batch
    return schedule.learning_rate(trainer.train.optim, max(0, step - 1), trainer.steps, per_epoch)


def _bad(trainer: Trainer) -> list[int]:
    """Return the numbers of the places, in the network's order, with a value that isn't finite."""
    return [number for number, (_, held) in enumerate(_places(trainer)) if not is_finite(held)]


def _places(trainer: Trainer) -> list[tuple[str, list[Tensor]]]:
    """Each layer's name and kind of value, and the tensors: of weights, their momentum too."""
    model = trainer.show_for_evaluation()  # the running statistics are in place
    found = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name not in trainer.exempt and tensor.is_floating_point():
            layer, _, last = name.replace("parametrizations.weight.original", "weight").rpartition(".")
            held = [tensor, *tensors(trainer.optimizer.state.get(tensor, {}))]
            found.append((f"{layer or 'network'} ({_KINDS.get(last, last)})", held))
    return found
