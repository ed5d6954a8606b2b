"""Targeted dropout: what is drawn, from what, and how a budget is shared among rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dnw.wiring import Choice, RegularTargetedDropoutEdges, TargetedDropoutEdges, raw_weight, wire
from dnw.wiring.random_bits import chance
from dnw.wiring.selection import largest, largest_of_rows
from dnw.wiring.targeted_dropout import share_out
from shards import rng

SHAPE = (200, 500)
CPU = torch.device("cpu")


def layer(seed: int = 0, **changes: object) -> tuple[nn.Linear, TargetedDropoutEdges]:
    torch.manual_seed(3)
    module = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    edges = TargetedDropoutEdges(SHAPE, 10_000, rho=0.95, key=(seed, 7), **changes)  # type: ignore[arg-type]
    wire(module, edges)
    return module, edges


def test_weak_edges_are_dropped_in_training_with_probability_rho_and_all_in_evaluation() -> None:
    module, edges = layer()
    candidates = 100_000 - 10_000
    module.train()
    used = module.weight != 0
    assert (used & edges.mask).sum() == 10_000
    share = (used & ~edges.mask).sum().item() / candidates
    assert share == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / candidates) ** 0.5)
    module.eval()
    assert torch.equal(module.weight != 0, edges.mask)


def test_sign_is_kept_unless_the_papers_code_is_reproduced() -> None:
    module, _ = layer()
    assert (module.weight < 0).any()
    plain, unsigned = layer()[0], layer(unsigned=True)[0]
    for mode in (True, False):
        plain.train(mode)
        unsigned.train(mode)
        assert torch.equal(unsigned.weight, plain.weight.abs())
    unsigned.weight.sum().backward()
    raw = raw_weight(unsigned)
    assert raw.grad is not None
    assert torch.equal(raw.grad, torch.where(unsigned.weight > 0, raw.sign(), 0.0))


def test_draw_is_a_function_of_seed_weight_and_step() -> None:
    module, edges = layer()
    choice, drawn = Choice(module), []
    for step in range(4):
        choice.choose(step)
        drawn.append(edges.kept.clone())
    assert len({tuple(kept.flatten().tolist()) for kept in drawn}) == 4
    resumed, again = layer()
    Choice(resumed).choose(2)
    assert torch.equal(again.kept, drawn[2])
    other, others = layer(seed=1)
    Choice(other).choose(2)
    assert not torch.equal(others.kept, drawn[2])


def test_only_legal_edges_are_candidates() -> None:
    legal = torch.ones(SHAPE).tril().bool()
    _, edges = layer(legal=legal)
    assert not (edges.kept & ~legal).any()
    assert (edges.kept & ~edges.mask).any()


@pytest.mark.parametrize("rho", [1.0, 1e-9])
def test_extremes_drop_all_or_nothing(rho: float) -> None:
    module = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    edges = TargetedDropoutEdges(SHAPE, 10, rho=rho, key=(0,))
    wire(module, edges)
    assert int(edges.kept.sum()) == (10 if rho == 1.0 else 100_000)


def test_coins_are_splitmix64() -> None:
    """Against numpy's unsigned arithmetic: whoever resumes on another device draws the same."""
    n, key = 1000, (5, 6, 7)
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + rng.bits(*key, n=1)[0]
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    for share in (0.0, 0.05, 0.5, 0.999, 1.0):
        # torch compares the bits as signed numbers, which moves them by half of the range
        uniforms = ((z >> np.uint64(11)).astype(np.int64) + 2**52) % 2**53
        expected = torch.from_numpy(uniforms < round(share * 2**53))
        assert torch.equal(chance(share, n, key, CPU), expected)


def test_coins_are_fair_and_independent() -> None:
    """Share, neighbours, rows and steps, each within five deviations."""
    n, share = 200_000, 0.3
    first, second = (chance(share, n, (0, 1, step), CPU).double() for step in (1, 2))
    deviation = (share * (1 - share) / n) ** 0.5
    assert abs(first.mean().item() - share) < 5 * deviation
    for a, b in [(first, second), *((first[:-lag], first[lag:]) for lag in (1, 2, 3, 64, 500, 512))]:
        covariance = ((a - share) * (b - share)).mean().item()
        assert abs(covariance) < 5 * share * (1 - share) / n**0.5
    counts = first.view(400, 500).sum(1)
    assert counts.var().item() == pytest.approx(500 * share * (1 - share), rel=0.4)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(any), st.data())
def test_a_budget_is_shared_in_proportion_and_used_up(positions: list[int], data: st.DataObject) -> None:
    budget = data.draw(st.integers(0, sum(positions)))
    shares = share_out(budget, torch.tensor(positions)).tolist()
    assert sum(shares) == budget
    exact = [p * budget / sum(positions) for p in positions]
    assert all(
        abs(share - e) < 1 and share <= p for share, e, p in zip(shares, exact, positions, strict=True)
    )


def test_what_is_left_goes_to_the_largest_remainders_then_to_the_first() -> None:
    assert share_out(5, torch.tensor([2, 3, 3])).tolist() == [1, 2, 2]
    assert share_out(5, torch.tensor([3, 3, 3])).tolist() == [2, 2, 1]


@given(st.data())
def test_each_row_has_its_strongest_edges(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 8))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**16)))
    weight = torch.randint(-3, 4, (rows, columns), generator=random).float()
    legal = data.draw(st.sampled_from([None, torch.rand(rows, columns, generator=random) < 0.6]))
    positions = torch.full((rows,), columns) if legal is None else legal.sum(1)
    budgets = torch.tensor([data.draw(st.integers(0, int(p))) for p in positions])
    chosen = largest_of_rows(weight, legal, budgets, int(budgets.max()))
    for row in range(rows):
        among = None if legal is None else legal[row]
        assert torch.equal(chosen[row], largest(weight[row], among, int(budgets[row])))


def test_regular_dropout_gives_each_row_its_budget() -> None:
    legal = torch.ones(SHAPE).tril().bool()
    budgets = share_out(5_000, legal.sum(1))
    module = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    edges = RegularTargetedDropoutEdges(SHAPE, budgets, rho=0.95, key=(0,), legal=legal)
    wire(module, edges)
    assert torch.equal(edges.mask.sum(1), budgets)
    assert not ((edges.mask | edges.kept) & ~legal).any()
    assert edges.budget == 5_000


@pytest.mark.parametrize("budgets", [[7, 0, 0], [1, 1]])
def test_rows_that_have_too_little_are_refused(budgets: list[int]) -> None:
    with pytest.raises(ValueError, match=r"for rows of \[6, 6, 6\] positions"):
        RegularTargetedDropoutEdges((3, 2, 3), torch.tensor(budgets), rho=0.5, key=(0,))


@pytest.mark.gpu
def test_gpu_draws_as_cpu_does() -> None:
    here, there = (chance(0.05, 1_000_003, (1, 2, 3), torch.device(name)) for name in ("cpu", "cuda"))
    assert torch.equal(here, there.cpu())
    weight: Tensor = torch.randn(512, 300, generator=torch.Generator().manual_seed(0)).half().float()
    budgets = torch.arange(512) % 301
    chosen = largest_of_rows(weight.cuda(), None, budgets.cuda(), 300)
    assert torch.equal(chosen.cpu(), largest_of_rows(weight, None, budgets, 300))
