"""Which nodes and edges of a graph lie on a path from the image to the classifier."""

from __future__ import annotations

import example
import torch
from torch import nn

from dnw import models
from dnw.wiring import DnwEdges, Layout, edges_of
from dnw.wiring.paths import Use, in_continuous_time, on_paths, step_by_step, together


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
