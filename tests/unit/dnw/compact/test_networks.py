"""Compact form: exact, and nothing in it that doesn't matter."""

from __future__ import annotations

import pytest
import torch
from drawn_networks import (
    Oddity,
    draw_norms,
    drawn,
    error,
    images,
    of_small_blocks,
    one_thread,  # noqa: F401
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dnw.compact import Compact, compact
from dnw.compact.check import check
from dnw.engines import build
from dnw.models import MobileNet
from dnw.wiring import edges_of
from dnw.wiring.paths import on_paths

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = ("mobilenet", "small", "static")
SHARES = st.sampled_from([0.0, 0.2, 0.6])
ODDITIES = st.builds(
    Oddity, density=st.sampled_from([0.0, 0.02, 0.1, 0.4, 1.0]), unread=SHARES, unfed=SHARES, silent=SHARES
)


def logits(network: Compact, images_BCHW: Tensor) -> Tensor:
    return build("compact", network, network.image_size)(images_BCHW)


def assert_equal_to_what_is_left(network: nn.Module, size: int) -> None:
    x = images(2, size)
    with torch.no_grad():
        expected = network(x)
    left = compact(network, size)
    check(left.arrays())
    assert error(logits(left, x), expected) < 1e-5


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["mobilenet", "small"]),
    size=st.sampled_from([4, 9, 16, 33, 70]),
    seed=st.integers(0, 2**32),
    oddity=ODDITIES,
)
def test_any_graph_of_a_small_mobilenet(
    kind: str, size: int, seed: int, oddity: Oddity, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_small_blocks(monkeypatch)
    network = drawn(kind, size, seed, oddity, wiring__name="complete")
    assert_equal_to_what_is_left(network, size)


@settings(max_examples=20, deadline=None)
@given(size=st.sampled_from([16, 28, 37]), seed=st.integers(0, 2**32), oddity=ODDITIES)
def test_any_graph_of_the_static_network(size: int, seed: int, oddity: Oddity) -> None:
    network = drawn("static", size, seed, oddity)
    assert_equal_to_what_is_left(network, size)


@pytest.mark.parametrize(("kind", "width"), [("mobilenet", 0.225), ("mobilenet", 0.1), ("small", 0.1)])
def test_edges_left_are_those_on_paths(kind: str, width: float) -> None:
    """Counted by other code, from the masks alone."""
    network = drawn(kind, 32, oddity=None, width=width)
    uses = on_paths([edges for _, edges in edges_of(network).values()])
    left = compact(network, 32)
    for use, block in zip(uses, left.blocks, strict=False):
        used = int(use.edges.sum())
        assert used > 0
        assert sum(len(sums.weights) for sums in block.sums) == used
        assert sum(layer.count for layer in block.layers) == int(use.sources.sum())
    assert len(left.blocks) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", ["first", "last"])
def test_a_network_without_a_path_is_a_constant(kind: str, cut: str) -> None:
    network = drawn(kind, 32)
    graphs = [edges for _, edges in edges_of(network).values()]
    graphs[0 if cut == "first" else -1].mask.zero_()
    left = compact(network, 32)
    check(left.arrays())
    assert left.stem is None
    assert not left.blocks
    x = images(2, 32)
    with torch.no_grad():
        expected = network(x)
    assert torch.equal(expected[0], expected[1])
    torch.testing.assert_close(logits(left, x), expected, rtol=1e-5, atol=1e-6)


def test_the_model_stays_as_it_is() -> None:
    network = drawn("mobilenet", 32).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compact(network, 32)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_dropped_candidates_of_targeted_dropout_are_not_edges() -> None:
    network = drawn("mobilenet", 32, oddity=None, wiring__name="td", width=0.3)
    x = images(2, 32)
    with torch.no_grad():
        expected = network(x)
    left = compact(network.train(), 32)
    assert error(logits(left, x), expected) < 1e-5


def test_other_networks_have_no_compact_form() -> None:
    with pytest.raises(
        TypeError, match=r"Linear has no compact form, only MobileNet and Static have; take .*dense"
    ):
        compact(nn.Linear(3, 3), 32)


def test_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than 64 px the first convolution halves them."""
    of_small_blocks(monkeypatch)
    network = drawn("mobilenet", 224, oddity=Oddity(density=0.3, unfed=0.2))
    assert isinstance(network, MobileNet)
    draw_norms(network, torch.Generator().manual_seed(3))
    left = compact(network, 224)
    assert [block.side for block in left.blocks] == [112, 56, 28]
    with torch.no_grad():
        assert error(logits(left, images(1, 224)), network(images(1, 224))) < 1e-5
