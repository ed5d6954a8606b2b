"""Costs: by hand where no figure of the paper's code exists."""

from __future__ import annotations

import json

import example
import pytest
import torch
from torch import nn

from dnw import models
from dnw.profile import profile
from dnw.profile.__main__ import main
from dnw.wiring import DnwEdges, Layout, edges_of
from dnw.wiring.paths import Use, in_continuous_time, on_paths, step_by_step, together


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
    small, large = profile(model, 32), profile(model, 64)
    fixed = 1024 * 10
    assert large.params == small.params
    assert large.macs - fixed == 4 * (small.macs - fixed)


def test_random_mobilenet_costs_what_the_paper_says() -> None:
    """Table: 1.2 M parameters and 55.7 M multiply-adds; the seeds of its own code give 55.2 M to 55.7 M."""
    train = example.train(
        model__name="mobilenet", wiring__name="random", width=0.225, data__classes=1000, data__image_size=224
    )
    costs = profile(models.build(train), 224)
    assert abs(costs.macs / 55.7e6 - 1) < 0.02
    assert abs(costs.params / 1.23e6 - 1) < 0.01


def test_dead_ends_are_not_on_a_path() -> None:
    # nodes 0 1 | 2 3 | 4 5 | outputs 6 7
    layout = Layout((2, 2, 2, 2), rows=6, columns=6, outputs=2)
    edges = DnwEdges((6, 6), 5, layout=layout)
    for source, target in [(0, 2), (2, 4), (4, 6), (3, 5), (1, 3)]:
        edges.mask[target - 2, source] = True
    (use,) = on_paths([edges])
    assert use.sources.tolist() == [True, False, True, False, True, False]
    assert use.outputs.tolist() == [True, False]
    assert int(use.edges.sum()) == 3


def test_paths_run_through_all_graphs() -> None:
    """What the next graph doesn't read is of no use, and what the last one doesn't reach it can't pass on."""
    layout = Layout((2, 2), rows=2, columns=2, outputs=2)
    first, second = (DnwEdges((2, 2), 1, layout=layout) for _ in range(2))
    first.mask.copy_(torch.eye(2).bool())
    second.mask[0, 1] = True
    one, two = on_paths([first, second])
    assert one.edges.tolist() == [[False, False], [False, True]]
    assert two.edges.tolist() == [[False, True], [False, False]]
    first.mask[1, 1] = False
    assert not any(use.edges.any() for use in on_paths([first, second]))


def test_nodes_of_the_last_layer_may_be_outputs_too() -> None:
    # square matrix: nodes 0 | 1 2 | 3 4, of which node 4 is read
    layout = Layout((1, 2, 2), rows=5, columns=5, outputs=1)
    edges = DnwEdges((5, 5), 3, layout=layout)
    for source, target in [(0, 1), (1, 3), (3, 4)]:
        edges.mask[target, source] = True
    (use,) = on_paths([edges])
    assert use.sources.tolist() == [True, True, False, True, False]
    assert use.outputs.tolist() == [True]


def test_effective_network_computes_the_same() -> None:
    """Take every edge off that is on no path: with biases at zero no logit changes."""
    model = models.build(example.train(width=0.002)).eval()
    for norm in model.norm:
        nn.init.zeros_(norm.bias)
    x = torch.randn(2, 3, 32, 32)
    before = model(x)
    _, edges = edges_of(model)["graph"]
    (use,) = on_paths([edges])
    assert 0 < int(use.edges.sum()) < edges.budget
    edges.mask.copy_(use.edges.view_as(edges.mask))
    torch.testing.assert_close(model(x), before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+exp=cifar_dwn"], "cifar_dnw"),
        (["+exp=cifar_dnw", "widht=1"], "widht: no such setting; did you mean width?"),
        (["+exp=cifar_dnw", "+widht=1"], "widht: no such setting; did you mean width?"),
        (["+exp=cifar_dnw", "width=0"], "width: must be greater than 0 (got 0)"),
    ],
)
def test_bad_words_are_one_message(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_output_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["+exp=cifar_dnw", "width=0.225"]
    assert main([*words, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["image_size"] == 32
    assert [block["edges"] for block in found["blocks"]] == [104, 1245, 4977, 72991, 79627]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert f"parameters {found['params']:,}  multiply-adds {found['macs']:,}" in table
    assert "layers.4.graph" in table
    assert "79,627" in table


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


def recurrent(*edges: tuple[int, int]) -> DnwEdges:
    """Five nodes, of which the first gets the image and the last is read."""
    layout = Layout((5,), rows=5, columns=5, outputs=1, image_inputs=1)
    wired = DnwEdges((5, 5), len(edges), layout=layout)
    for source, target in edges:
        wired.mask[target, source] = True
    return wired


def pairs(use: Use) -> set[tuple[int, int]]:
    return {(source, target) for target, source in use.edges.nonzero().tolist()}


def test_paths_in_discrete_time_have_as_many_edges_as_steps() -> None:
    edges = recurrent((0, 1), (1, 2), (2, 4), (0, 4), (4, 4), (3, 2), (2, 3))
    first, second, third = step_by_step(edges, 3)
    assert pairs(first) == {(0, 1), (0, 4)}
    assert pairs(second) == {(1, 2), (4, 4)}
    assert pairs(third) == {(2, 4), (4, 4)}
    assert together([first, second, third]).sources.tolist() == [True, True, True, False, True]
    assert third.outputs.tolist() == [True]
    assert not any(use.edges.any() for use in step_by_step(recurrent((0, 1), (1, 2), (2, 4)), 2))


def test_paths_in_continuous_time_have_any_length() -> None:
    use = in_continuous_time(recurrent((0, 1), (1, 2), (2, 1), (2, 4), (3, 2), (4, 3), (1, 0)))
    assert pairs(use) == {(0, 1), (1, 2), (2, 1), (2, 4), (3, 2), (4, 3), (1, 0)}
    use = in_continuous_time(recurrent((0, 1), (1, 2), (3, 2), (2, 4), (1, 3), (0, 3), (2, 0)))
    assert use.edges.sum() == 7
    use = in_continuous_time(recurrent((0, 1), (1, 4), (2, 1), (3, 2), (1, 3)))
    assert pairs(use) == {(0, 1), (1, 4), (2, 1), (3, 2), (1, 3)}
    use = in_continuous_time(recurrent((0, 1), (1, 4), (2, 1), (1, 3)))
    assert pairs(use) == {(0, 1), (1, 4)}
