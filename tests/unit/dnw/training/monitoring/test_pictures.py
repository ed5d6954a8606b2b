"""Pictures of wirings."""

from __future__ import annotations

import io

import example
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dnw import models
from dnw.training.monitoring.pictures import (
    EDGE,
    IMPOSSIBLE,
    NEVER_COMPUTED,
    NO_EDGE,
    adjacency,
    panels,
    wiring_png,
)
from dnw.wiring import DnwEdges, Layout, edges_of, wire


def test_small_matrix_is_enlarged_and_shows_every_position() -> None:
    edges = DnwEdges((4, 4), 2, layout=Layout((2, 2, 2), rows=4, columns=4, outputs=2))
    edges.mask[0, 0] = edges.mask[1, 3] = True
    picture = adjacency(edges, side=40)
    assert picture.shape == (40, 40, 3)
    assert picture.dtype == np.uint8
    middles = [[tuple(picture[row, column].tolist()) for column in (5, 15, 35)] for row in (5, 15, 35)]
    assert middles == [
        [EDGE, NO_EDGE, IMPOSSIBLE],
        [NO_EDGE, NO_EDGE, NEVER_COMPUTED],
        [NO_EDGE, NO_EDGE, NO_EDGE],
    ]
    border = picture[:, 20]
    assert len(np.unique(border[:10], axis=0)) == 1
    assert tuple(border[0].tolist()) not in {EDGE, NO_EDGE, IMPOSSIBLE, NEVER_COMPUTED}


def test_no_edge_of_a_large_matrix_disappears() -> None:
    edges = DnwEdges((301, 250), 1)
    edges.mask[300, 123] = True
    picture = adjacency(edges, side=50)
    assert max(picture.shape) <= 50
    seen = np.argwhere((picture != NO_EDGE).any(-1))
    assert seen.tolist() == [[300 // 7, 123 // 7]]


def test_a_dot_of_a_convolution_is_a_whole_filter() -> None:
    edges = DnwEdges((6, 4, 3, 3), 5, legal=torch.ones(6, 4, 3, 3, dtype=torch.bool))
    edges.mask[1, 2] = True
    edges.mask[3, 0, 1, 1] = True
    picture = adjacency(edges, side=60)
    assert picture.shape == (60, 40, 3)
    assert tuple(picture[15, 25]) == EDGE
    assert EDGE[0] < picture[35, 5, 0] < NO_EDGE[0]  # one entry of nine
    assert {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()} == {
        EDGE, NO_EDGE, tuple(picture[35, 5].tolist())
    }  # fmt: skip


def test_depthwise_filters_lie_side_by_side() -> None:
    edges = DnwEdges((6, 1, 3, 3), 1)
    edges.mask[2, 0, 1, 1] = True
    picture = adjacency(edges, side=90)
    assert picture.shape == (60, 90, 3)
    assert tuple(picture[25, 45]) == EDGE


def test_of_many_weights_the_largest_are_drawn() -> None:
    sizes = [4, 40, 6, 30, 8, 20, 10, 12]
    model = nn.ModuleList(nn.Linear(2, size) for size in sizes)
    for layer in model:
        wire(layer, DnwEdges(layer.weight.shape, 3))  # type: ignore[arg-type]
    wirings = {name: edges for name, (_, edges) in edges_of(model).items()}
    assert list(panels(wirings)) == ["1", "3", "4", "5", "6", "7"]
    with Image.open(io.BytesIO(wiring_png(model))) as image:
        assert max(image.size) <= 2000


def test_picture_of_a_network() -> None:
    model = models.build(example.train(model={"name": "mobilenet", "small": True}))
    with Image.open(io.BytesIO(wiring_png(model))) as image:
        assert image.format == "PNG"
        first = np.asarray(image)
    # the first panel is the first block at its own scale
    _, edges = edges_of(model)["layers.0.graph"]
    panel = adjacency(edges, 512)
    top, left = 188, 48
    assert (first[top : top + panel.shape[0], left : left + panel.shape[1]] == panel).all()


def test_model_without_wiring_is_refused() -> None:
    with pytest.raises(ValueError, match="no weight of the model is wired"):
        wiring_png(nn.Linear(2, 2))
