"""A compact network that contradicts itself is refused, and the place is named."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from drawn_compact import some_network
from torch import Tensor

from dnw.compact import Compact, Head
from dnw.compact.check import check


@pytest.fixture
def network() -> Compact:
    torch.manual_seed(0)
    return some_network(9, 1, 2, normed=True)


def changed(part: Any, path: str, value: Any) -> Any:
    """Return the network with another value at a dotted path; a function of the value that is there."""
    name, _, rest = path.partition(".")
    inner = part[int(name)] if isinstance(part, tuple) else getattr(part, name)
    new = changed(inner, rest, value) if rest else value(inner)
    if isinstance(part, tuple):
        return (*part[: int(name)], new, *part[int(name) + 1 :])
    return dataclasses.replace(part, **{name: new})


def out_of_range(indices: Tensor) -> Tensor:
    return indices.clone().index_fill_(0, torch.tensor([0]), 1000)


def below_zero(indices: Tensor) -> Tensor:
    return indices.clone().index_fill_(0, torch.tensor([0]), -1)


def test_what_fits_is_accepted(network: Compact) -> None:
    check(network.arrays())


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("stem.filters", lambda filters: filters[:, :2], "stem"),
        ("blocks.1.side", lambda side: side + 1, "blocks.1: sides"),
        ("blocks.0.layers", lambda layers: layers[:1], "blocks.0: as many layers as sums"),
        ("blocks.0.layers.1.filters", lambda filters: filters[:-1], "blocks.0.layers.1: nodes"),
        ("blocks.0.layers.1.stride", lambda _: 2, "blocks.0.layers.1: stride"),
        ("blocks.0.layers.0.norm.scale", lambda scale: scale[:-1], "blocks.0.layers.0.norm"),
        ("blocks.1.sums.1.columns", lambda columns: columns + 1, "blocks.1.sums.1: columns"),
        ("blocks.1.sums.0.starts", lambda starts: starts.long(), "blocks.1.sums.0.starts"),
        ("blocks.1.sums.0.starts", lambda starts: starts + 1, "blocks.1.sums.0.starts"),
        ("blocks.1.sums.0.starts", lambda starts: out_of_range(starts.flip(0)).flip(0), "sums.0.starts"),
        ("blocks.0.sums.0.sources", out_of_range, "blocks.0.sums.0.sources"),
        ("blocks.0.sums.0.sources", below_zero, "blocks.0.sums.0.sources"),
        ("blocks.0.sums.0.mapped", out_of_range, "blocks.0.sums.0.mapped"),
        ("blocks.0.sums.0.maps", lambda maps: maps[:, :-1], "blocks.0.sums.0.maps"),
        ("head.weight", lambda weight: weight[:, :-1], "head"),
        ("head.window", lambda window: window + 1, "head: window"),
        ("head.corner", lambda _: -1, "head: window"),
        ("head.window", lambda _: 0, "head: window"),
    ],
)
def test_what_does_not_fit_is_named(network: Compact, path: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"no compact network: .*{re.escape(said)}"):
        check(changed(network, path, value).arrays())


def test_a_target_without_edges_is_refused(network: Compact) -> None:
    starts = network.blocks[0].sums[0].starts.clone()
    starts[1] = 0
    with pytest.raises(ValueError, match="a row without edges"):
        check(changed(network, "blocks.0.sums.0.starts", lambda _: starts).arrays())


def test_without_a_path_only_the_head_is_left(network: Compact) -> None:
    head = Head(rectified=True, corner=0, window=9, weight=torch.empty(4, 0), bias=torch.zeros(4))
    check(Compact(9, None, (), head).arrays())
    with pytest.raises(ValueError, match="blocks without a stem"):
        check(dataclasses.replace(network, stem=None).arrays())
