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
from dnw.pictures import EDGE, IMPOSSIBLE, NEVER_COMPUTED, NO_EDGE, adjacency, wiring_png
from dnw.wiring import DnwEdges, Layout, edges_of


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


def test_any_weight_can_be_drawn() -> None:
    edges = DnwEdges((6, 4, 3, 3), 5, legal=torch.ones(6, 4, 3, 3, dtype=torch.bool))
    assert adjacency(edges).shape == (6 * 28, 36 * 28, 3)


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
