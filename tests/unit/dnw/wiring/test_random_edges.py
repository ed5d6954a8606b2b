"""A random graph has exactly its budget of legal edges, the same for the same key, and no preference."""

import torch

from dnw.wiring.random_edges import RandomEdges, draw


def test_exactly_the_budget_and_only_legal_edges() -> None:
    legal = torch.arange(60).view(6, 10) % 3 != 0
    drawn = draw((6, 10), 25, key=(1, 2), legal=legal)
    assert (drawn.dtype, drawn.shape, int(drawn.sum())) == (torch.bool, (6, 10), 25)
    assert not (drawn & ~legal).any()
    assert torch.equal(draw((6, 10), int(legal.sum()), key=(0,), legal=legal), legal)


def test_a_key_draws_the_same_edges_always_and_another_key_others() -> None:
    first, again, other = (draw((20, 20), 50, key=key) for key in ((7, 0), (7, 0), (7, 1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_position_is_drawn_as_often() -> None:
    """A quarter of 2,000 draws, give or take six standard deviations of a binomial distribution."""
    counts = sum(draw((4, 5), 5, key=(number,)).int() for number in range(2000))
    assert isinstance(counts, torch.Tensor)
    assert (counts - 500).abs().max() < 6 * (2000 * 0.25 * 0.75) ** 0.5


def test_other_edges_learn_nothing() -> None:
    mask = draw((3, 4), 6, key=(0,))
    weight = torch.ones(3, 4, requires_grad=True)
    used = RandomEdges(mask)(weight)
    used.sum().backward()
    assert torch.equal(used != 0, mask)
    assert torch.equal(weight.grad != 0, mask)
