"""Choose the edges of a model: weight by weight, or together where weights share a budget."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dnw.wiring.edges import Edges
from dnw.wiring.fixed import FixedEdges
from dnw.wiring.pool import Pool
from dnw.wiring.scheduled.edges import ScheduledEdges
from dnw.wiring.strongest import StrongestEdges
from dnw.wiring.wired import edges_of, raw_weight


class Choice:
    """The wired weights of a model, and which of them are chosen together."""

    def __init__(self, model: nn.Module, steps: int | None = None) -> None:
        """Find them, to be trained for `steps` steps; a module that is wired later is not among them."""
        self._single: list[tuple[nn.Module, Edges]] = []
        self._pools: dict[Pool, list[tuple[nn.Module, StrongestEdges]]] = {}
        for module, edges in edges_of(model).values():
            if edges.pool is None:
                self._single.append((module, edges))
            else:
                assert isinstance(edges, StrongestEdges)
                self._pools.setdefault(edges.pool, []).append((module, edges))
        self._scheduled = [
            (module, edges) for module, edges in self._single if isinstance(edges, ScheduledEdges)
        ]
        if steps is not None:
            self._plan(steps)

    @torch.no_grad()
    def _plan(self, steps: int) -> None:
        for module, edges in self._single:
            edges.plan(raw_weight(module), steps)

    @torch.no_grad()
    def begin(self) -> None:
        """Choose all edges for the first time, from the present weights: those that stay, too."""
        for module, edges in self._single:
            edges.begin(raw_weight(module))
        for pool in self._pools:
            self._share(pool, step=0)

    @torch.no_grad()
    def before_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Change the edges that follow a schedule: after `step` steps, with the gradients of the next."""
        for module, edges in self._scheduled:
            if edges.is_due(step):
                weight = raw_weight(module)
                edges.change(weight, step, _slots(optimizer, weight))

    @torch.no_grad()
    def choose(self, step: int) -> None:
        """Choose anew: once after each optimizer step, and once after loading weights."""
        for module, edges in self._single:
            edges.choose(raw_weight(module), step)
        for pool, members in self._pools.items():
            if not isinstance(members[0][1], FixedEdges):
                self._share(pool, step)

    def _share(self, pool: Pool, step: int) -> None:
        members = self._pools[pool]
        masks = pool.strongest([raw_weight(module) for module, _ in members])
        for (_, edges), mask in zip(members, masks, strict=True):
            edges.take(mask, step)


def _slots(optimizer: torch.optim.Optimizer, weight: Tensor) -> list[Tensor]:
    """Return what the optimizer keeps for each entry of a weight: its momentum, say."""
    held = optimizer.state.get(weight, {}).values()
    return [one for one in held if isinstance(one, Tensor) and one.shape == weight.shape]


def choose_all(model: nn.Module, step: int) -> None:
    """Choose every wiring's edges anew, after loading weights of step `step`."""
    Choice(model).choose(step)
