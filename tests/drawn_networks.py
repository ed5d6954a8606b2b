"""Networks with drawn weights, norms and graphs, odd ones among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import example
import pytest
import torch
from torch import Tensor, nn

from dnw import models
from dnw.models import mobilenet
from dnw.wiring import edges_of, raw_weight

BLOCKS = ((5, 9, 1, 1), (9, 12, 2, 2), (12, 16, 2, 3))


@dataclasses.dataclass(frozen=True)
class Oddity:
    """How a graph is drawn: shares of what is there, or is wrong with it."""

    density: float = 0.2  # of the legal edges
    unread: float = 0.0  # nodes nobody reads
    unfed: float = 0.0  # targets without an edge
    silent: float = 0.0  # norms of scale 0, filters of zeros


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small as these networks are, threads that wait for each other cost more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(kind: str, size: int, seed: int = 0, oddity: Oddity | None = Oddity(), **changes: Any) -> nn.Module:
    """A network in evaluation; `kind` is static, mobilenet or small. With oddity None its graph stays."""
    model = {"name": "mobilenet" if kind == "small" else kind, "small": kind == "small"}
    network = models.build(example.train(model=model, data__image_size=size, **changes)).eval()
    generator = torch.Generator().manual_seed(seed)
    draw_norms(network, generator)
    if oddity is not None:
        for _, edges in edges_of(network).values():
            assert edges.layout is not None
            edges.mask.copy_(_mask(edges.layout.legal(), oddity, generator).view_as(edges.mask))
        _silence(network, oddity.silent, generator)
    _settle(network, size)
    return network


def draw_norms(network: nn.Module, generator: torch.Generator) -> None:
    """Scales and shifts as after some training, of either sign."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
                module.weight.uniform_(-0.5, 1.5, generator=generator)
                module.bias.normal_(0.2, 0.5, generator=generator)


def _settle(network: nn.Module, size: int) -> None:
    """Weights large enough, and statistics of images: else what these bring dies away from block to block."""
    with torch.no_grad():
        for graph, edges in edges_of(network).values():
            raw_weight(graph).mul_(edges.mask.shape[1] ** 0.5)  # from -1 to 1
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1
    with torch.no_grad():
        network.train()(torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1)))
    network.eval()
    for norm in norms:
        assert norm.running_var is not None
        norm.running_var.clamp_(min=1e-2)  # a node that receives the same from all images


def of_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """MobileNets of three blocks with 5 to 16 channels, for many to be drawn."""
    monkeypatch.setattr(mobilenet, "BLOCKS", BLOCKS)
    monkeypatch.setattr(mobilenet, "FEATURES", BLOCKS[-1][1])


def images(batch: int, size: int) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(7))


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest logit; logits may be all zero."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def _mask(legal_TS: Tensor, oddity: Oddity, generator: torch.Generator) -> Tensor:
    rows, columns = legal_TS.shape
    unfed_T1 = torch.rand(rows, 1, generator=generator) < oddity.unfed
    unread_S = torch.rand(columns, generator=generator) < oddity.unread
    drawn_TS = torch.rand(rows, columns, generator=generator) < oddity.density
    return drawn_TS & legal_TS & ~unfed_T1 & ~unread_S


def _silence(network: nn.Module, share: float, generator: torch.Generator) -> None:
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) or (
                isinstance(module, nn.Conv2d) and module.groups > 1
            ):
                module.weight[torch.rand(len(module.weight), generator=generator) < share] = 0
