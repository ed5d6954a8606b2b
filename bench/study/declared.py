"""What the study compares: networks, contestants, and how long each is trained; all of it plain settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
WARMUP = 0.25  # share of the run in which the contestant `warmup` raises its rate


@dataclass(frozen=True)
class Network:
    """A network, and what its training has besides wiring, rate, seed and length."""

    name: str
    title: str
    size: int  # of the images, pixels
    words: tuple[str, ...]
    batch: int


NETWORKS = (
    Network("mobilenet", "MobileNetV1-like x0.225, images of 16 px", 16, ("+exp=cifar_dnw",), 64),
    Network("static", "tiny static network, images of 16 px", 16, ("+exp=static_dnw", "optim=medium"), 64),
)
# of both: no augmentation, forwards of 64 images, one process of one thread
ALIKE = (
    "data=fashion_mnist",
    "data.augment=none",
    "micro_batch=64",
    "threads=1",
    "nproc=1",
    "data.workers=0",
)
# They have a budget of edges at the end, and need no other run to begin with. `complete` has all edges.
WIRINGS = (
    *("random", "no_update", "dnw", "td", "reg_td", "rigl", "set", "gmp", "acdc", "str", "lottery"),
    *("edge_popup", "complete"),
)
REMEDIES = {
    "hysteresis": "wiring.hysteresis=0.1",
    "average": "wiring.average=0.9",
    "swaps": "wiring.swaps=0.01",
    "dense_until": "wiring.dense_until=0.3",
    "rescale": "wiring.rescale=true",
    "at_least": "wiring.at_least=1",
    "wired_lr_factor": "optim.wired_lr_factor=0.1",
    "warmup": "optim.warmup_epochs={warmup:g}",
}  # of dnw
CONTESTANTS = (*WIRINGS, *(f"dnw+{remedy}" for remedy in REMEDIES))


@dataclass(frozen=True)
class Length:
    """How long each run is: in epochs, or in steps."""

    epochs: int
    steps: int | None

    def words(self) -> tuple[str, ...]:
        return (f"epochs={self.epochs}",) if self.steps is None else (f"steps={self.steps}",)

    def warmup(self, network: Network, images: int) -> float:
        """Return the epochs in which the contestant `warmup` raises its rate."""
        whole = self.epochs if self.steps is None else self.steps * network.batch / images
        return WARMUP * whole


@dataclass(frozen=True)
class Sweep:
    """Runs that one line of the launcher stands for."""

    network: Network
    contestants: tuple[str, ...]  # several wirings, or dnw with one remedy
    words: tuple[str, ...]

    def alone(self, contestant: str, rate: float, seed: int) -> Sweep:
        """Return one of its runs as a sweep of its own."""
        own = {"wiring": contestant.partition("+")[0], "optim.lr": f"{rate:g}", "seed": f"{seed}"}
        pairs = [word.partition("=") for word in self.words]
        words = tuple(f"{key}={own.get(key, value)}" for key, _, value in pairs)
        return replace(self, contestants=(contestant,), words=words)


def sweeps(
    network: Network,
    contestants: Sequence[str],
    rates: Sequence[float],
    seeds: Sequence[int],
    length: Length,
    images: int,
) -> list[Sweep]:
    """Declare runs: wirings by one line, each remedy by one. All of a seed come before those of the next.

    Args:
        network: which one.
        contestants: names from CONTESTANTS.
        rates: each contestant's.
        seeds: of each rate.
        length: of each run.
        images: that are trained on in an epoch.
    """
    common = (*network.words, f"batch={network.batch}", f"data.image_size={network.size}", *ALIKE)
    varied = (f"optim.lr={','.join(f'{rate:g}' for rate in rates)}", *length.words())
    made = []
    wirings = tuple(one for one in contestants if "+" not in one)
    for group in ([wirings] if wirings else []) + [(one,) for one in contestants if "+" in one]:
        wiring = ",".join(one.partition("+")[0] for one in group)
        own = [REMEDIES[one.partition("+")[2]] for one in group if "+" in one]
        own = [word.format(warmup=length.warmup(network, images)) for word in own]
        words = (f"seed={','.join(map(str, seeds))}", f"wiring={wiring}", *varied, *own)
        made.append(Sweep(network, group, (*common, *words)))
    return made
