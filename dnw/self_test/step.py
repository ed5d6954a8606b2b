"""Compare one step on this device with the same step on the CPU: loss, gradients, statistics, masks."""

from __future__ import annotations

import torch

from dnw.self_test.measure import Measured, Setup
from dnw.self_test.training import loaded, ready
from dnw.training.checkpoint import Checkpoint, Identity
from dnw.training.distributed import ALONE, World

TOLERANCES = {"loss": 1e-3, "gradients": 1e-2, "statistics": 1e-3, "masks": 1e-3}
DEVIATION = 1.02  # of all gradients, put in on purpose
NOBODY = Identity("", "", "", "")


def measure(setup: Setup) -> Measured:
    """Return by how much they differ, and whether that is within TOLERANCES.

    The loss and the norms of gradients and of running statistics are compared relatively; of the masks, the
    share of edges that are others. Gradients are taken from the momentum, which after one step is the
    gradient with its decay.
    """
    if setup.is_one_of_many:
        return Measured(True)
    device = setup.world.device
    here = _after_a_step(setup, World(0, 1, 1, device), setup.is_faulty)
    there = _after_a_step(setup, ALONE, is_faulty=False)
    found = {
        "loss": _apart(here.meter[1:2], there.meter[1:2]),
        "gradients": _apart(_momentum(here), _momentum(there)),
        "statistics": _apart(_statistics(here), _statistics(there)),
        "masks": _others(here.masks, there.masks),
    }
    is_right = all(found[name] <= tolerance for name, tolerance in TOLERANCES.items())
    figure = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    beside = "cuda beside cpu" if device.type == "cuda" else "no GPU here: cpu beside cpu"
    return Measured(is_right, f"{beside}: {figure}", ", ".join(f"{k} {v:.0e}" for k, v in TOLERANCES.items()))


def _after_a_step(setup: Setup, world: World, is_faulty: bool) -> Checkpoint:
    trainer = ready(setup.train, world)
    if is_faulty:
        for parameter in trainer.model.parameters():
            parameter.register_hook(lambda gradient: gradient * DEVIATION)
    trainer.step(loaded(setup.train, world, 1))
    trainer.swapped()  # have the masks be those after the step
    return trainer.snapshot(NOBODY)


def _apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.double(), theirs.double()
    return float((ours - theirs).norm() / theirs.norm())


def _momentum(state: Checkpoint) -> torch.Tensor:
    return torch.cat([one["momentum_buffer"].flatten() for one in state.optimizer["state"].values()])


def _statistics(state: Checkpoint) -> torch.Tensor:
    names = ("running_mean", "running_var")
    return torch.cat([value.flatten() for key, value in state.model.items() if key.endswith(names)])


def _others(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    edges = sum(int(mask.sum()) for mask in theirs.values())
    return sum(int((ours[name] & ~theirs[name]).sum()) for name in theirs) / edges
