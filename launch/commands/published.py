"""What the paper, and for ResNet-50 its code, published: to be shown beside the results of runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dnw.config import Train


@dataclass(frozen=True, kw_only=True)
class Published:
    """One result, and what it is a result of."""

    model: str
    wiring: str
    data: str
    width: float | None = None
    sparsity: float | None = None
    small: bool = False
    first_layer: Literal["sparse", "dense"] = "sparse"
    top1: float  # percent
    spread: float | None = None  # of top1 over seeds, percent
    params: float | None = None
    macs: float | None = None

    def is_of(self, train: Train) -> bool:
        """Whether `train` is a run of this kind; how long it trains is not compared."""
        theirs = (train.model.name, train.wiring.name, train.data.name, train.model.small, train.first_layer)
        ours = (self.model, self.wiring, self.data, self.small, self.first_layer)
        return theirs == ours and (train.width, train.sparsity or None) == (self.width, self.sparsity)


def published(train: Train) -> Published | None:
    """Return what the paper has for a run of this kind, if it has anything."""
    return next((row for row in ROWS if row.is_of(train)), None)


# network, wiring, top-1, spread
_TINY = (
    ("static", "random", 76.1, 0.5),
    ("static", "dnw", 80.9, 0.6),
    ("discrete", "random", 77.3, 0.7),
    ("discrete", "dnw", 82.3, 0.6),
    ("continuous", "random", 78.5, 1.2),
    ("continuous", "dnw", 83.1, 0.3),
)
# network, wiring, classifier wired too, width, parameters, multiply-adds, top-1
_LARGE = (
    ("mobilenet", "random", False, 0.225, 1.2e6, 55.7e6, 53.3),
    ("mobilenet", "dnw", True, 0.15, 0.24e6, 22.1e6, 50.3),
    ("mobilenet", "dnw", True, 0.225, 0.4e6, 41.2e6, 59.9),
    ("mobilenet", "dnw", False, 0.225, 1.1e6, 42.1e6, 60.9),
    ("mobilenet", "dnw", False, 0.3, 1.3e6, 66.7e6, 65.0),
    # named x.49, but by its budget it is .51: shown beside both
    ("mobilenet", "random", False, 0.49, 1.8e6, 170e6, 64.1),
    ("mobilenet", "random", False, 0.51, 1.8e6, 170e6, 64.1),
    ("mobilenet", "dnw", False, 0.49, 1.8e6, 154e6, 70.4),
    ("mobilenet_v1", "complete", False, 0.25, 0.5e6, 41e6, 50.6),
    ("mobilenet_v1", "complete", False, 0.5, 1.3e6, 149e6, 63.7),
    ("torchvision/shufflenet_v2_x0_5", "complete", False, None, 1.4e6, 41e6, 60.3),
    ("torchvision/shufflenet_v2_x1_0", "complete", False, None, 2.3e6, 146e6, 69.4),
)
# ResNet-50 with 10, 20 ... 90 % of the weights removed
_SPARSE = (77.488, 77.610, 77.604, 77.536, 77.528, 77.290, 76.904, 76.158, 74.026)
_FIRST_DENSE = (77.382, 77.284, 77.492, 77.564, 77.570, 77.456, 77.076, 76.600, 75.044)
_DENSE = 77.510


def _rows() -> Iterator[Published]:
    for model, wiring, top1, spread in _TINY:
        yield Published(model=model, wiring=wiring, data="cifar10", width=0.05, top1=top1, spread=spread)
    for model, wiring, small, width, params, macs, top1 in _LARGE:
        yield Published(
            model=model,
            wiring=wiring,
            data="imagenet",
            width=width,
            small=small,
            params=params,
            macs=macs,
            top1=top1,
        )
    for tenths, (sparse, first_dense) in enumerate(zip(_SPARSE, _FIRST_DENSE, strict=True), 1):
        yield _resnet(sparse, tenths / 10, "sparse")
        yield _resnet(first_dense, tenths / 10, "dense")
    yield Published(model="resnet50", wiring="complete", data="imagenet", top1=_DENSE)


def _resnet(top1: float, sparsity: float, first_layer: Literal["sparse", "dense"]) -> Published:
    return Published(
        model="resnet50",
        wiring="dnw",
        data="imagenet",
        sparsity=sparsity,
        first_layer=first_layer,
        top1=top1,
    )


ROWS = tuple(_rows())
