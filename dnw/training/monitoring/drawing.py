"""The costs and pictures of a wiring, made while training goes on: a thread works on copies of the masks.

The network itself is left to the training: a thread that sent an image through it would share what torch
keeps for the whole process (the cache of parametrized weights, the choice of attention's kernel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor, nn

from dnw.profile import Profile, counting
from dnw.profile.graphs import is_continuous
from dnw.training.monitoring.pictures import Pixels, panels
from dnw.wiring import Edges, edges_of

Publish = Callable[[Profile, dict[str, Pixels]], None]


class Drawing:
    """Draws the wirings of one network, one state after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "drawing")
        self._under_way: Future[None] | None = None
        self._count: Callable[[Mapping[str, Edges]], Profile] | None = None
        self._wirings: dict[str, Edges] = {}  # on the host

    def begin(self, model: nn.Module, masks: Mapping[str, Tensor], image_size: int, publish: Publish) -> None:
        """Count and draw from now on, then call `publish` with what came out, all in the thread.

        Waits for what is under way, and raises what went wrong in it.

        Args:
            model: the network, whose layers' shapes are asked for; one in continuous time is also sent an
                image here, any other than a graph of channels the first time.
            masks: of its wired weights, by path: on the host, and nobody changes them.
            image_size: pixels.
            publish: takes the costs, and the pictures by path.
        """
        self.wait()
        if not self._wirings:
            self._wirings = {path: _on_host(edges) for path, (_, edges) in edges_of(model).items()}
        if self._count is None or is_continuous(model):  # its solver takes more or fewer steps each time
            self._count = counting(model, image_size)
        for path, edges in self._wirings.items():
            edges.mask = masks[path]
        self._under_way = self._pool.submit(self._draw, self._count, publish)

    def wait(self) -> None:
        """Return once nothing is under way, from any thread; raise what went wrong in it."""
        if self._under_way is not None:
            self._under_way.result()

    def look(self) -> None:
        """Raise as `wait` does, as soon as it is known."""
        if self._under_way is not None and self._under_way.done():
            self._under_way.result()

    def close(self) -> None:
        """End the thread, after what is under way; raises nothing."""
        self._pool.shutdown()

    def _draw(self, count: Callable[[Mapping[str, Edges]], Profile], publish: Publish) -> None:
        publish(count(self._wirings), panels(self._wirings))


def _on_host(edges: Edges) -> Edges:
    """Return the places of edges in host memory, without a mask."""
    legal = None if edges.legal is None else edges.legal.cpu()
    return Edges(edges.mask.shape, 0, legal=legal, layout=edges.layout, quota=edges.quota)
