"""Costs of the paper's graphs of channels: by hand where no figure of the paper's code exists."""

from __future__ import annotations

import example

from dnw import models
from dnw.profile import profile


def test_static_network_by_hand() -> None:
    costs = profile(models.build(example.train()), 32)
    (block,) = costs.blocks
    nodes, inputs = block.has_output, 32
    stem = 27 * 16, 9 * 16, 16 * inputs
    assert costs.params == sum(stem) + 32_000 + 9 * nodes + 100 * 10
    assert costs.params == 41_288  # the paper says 41 k
    maps = 64 * (stem[1] + stem[2] + 32_000 + 9 * nodes)
    assert costs.macs == 256 * stem[0] + maps + 4 * 100 + 100 * 10


def test_mobilenet_of_full_width_by_hand() -> None:
    costs = profile(models.build(example.train(model__name="mobilenet", wiring__name="complete")), 32)
    positions = 6_981_632
    assert sum(block.edges for block in costs.blocks) == positions
    nodes = 32 + 192 + 384 + 2816 + 1536
    assert costs.params == 27 * 32 + positions + 9 * nodes + 1024 * 10
    assert costs.effective_params == costs.params
    assert costs.effective_macs == costs.macs
    assert all(block.dead == 0 for block in costs.blocks)


def test_costs_grow_with_the_image() -> None:
    model = models.build(example.train(model__name="mobilenet", width=0.225))
    small, large = profile(model, 32), profile(model, 128)
    fixed = 1024 * 10
    assert large.params == small.params
    assert large.macs - fixed == 16 * (small.macs - fixed)


def test_random_mobilenet_costs_what_the_paper_says() -> None:
    """Table: 1.2 M parameters and 55.7 M multiply-adds; the seeds of its own code give 55.2 M to 55.7 M."""
    train = example.train(
        model__name="mobilenet", wiring__name="random", width=0.225, data__classes=1000, data__image_size=224
    )
    costs = profile(models.build(train), 224)
    assert abs(costs.macs / 55.7e6 - 1) < 0.02
    assert abs(costs.params / 1.23e6 - 1) < 0.01


def test_network_in_discrete_time_by_hand() -> None:
    costs = profile(models.build(example.train(model__name="discrete")), 32)
    (block,) = costs.blocks
    nodes = block.has_output
    stem = 27 * 16, 9 * 16, 16 * 32
    assert costs.repeats == 5
    assert costs.params == sum(stem) + 32_000 + 9 * nodes + 100 * 10
    maps = 64 * (stem[1] + stem[2] + 5 * (32_000 + 9 * nodes))
    assert costs.macs == 256 * stem[0] + maps + 4 * 100 + 100 * 10


def test_what_no_step_uses_is_not_effective() -> None:
    """In the first of five steps only the inputs have anything to give, in the last 100 nodes are read."""
    costs = profile(models.build(example.train(model__name="discrete", wiring__name="complete")), 32)
    fixed = 256 * 27 * 16 + 64 * (9 * 16 + 16 * 32) + 4 * 100 + 100 * 10
    steps = (32 * 800 + 9 * 32, *[800 * 800 + 9 * 800] * 3, 800 * 100 + 9 * 800)
    assert costs.effective_macs == fixed + 64 * sum(steps)
    assert costs.effective_params == costs.params


def test_network_in_continuous_time_costs_what_its_solver_asks_for() -> None:
    model = models.build(example.train(model__name="continuous"))
    costs = profile(model, 32)
    (block,) = costs.blocks
    stem = 27 * 16, 9 * 16, 16 * 32
    assert costs.repeats == model.evaluations > 5
    graph = costs.repeats * (32_000 + 9 * block.has_output)
    assert costs.macs == 256 * stem[0] + 64 * (stem[1] + stem[2] + graph) + 4 * 100 + 100 * 10
    assert profile(model, 32) == costs
