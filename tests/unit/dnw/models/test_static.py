"""The tiny static network, against one sum per layer over all edges."""

from __future__ import annotations

import example
import torch
import torch.nn.functional as F
from drawn_networks import drawn, images
from torch import nn

from dnw import models
from dnw.models.static import LAYERS, Static


@torch.no_grad()
def test_is_what_the_paper_says() -> None:
    """Each node normalizes, rectifies and filters the weighted sum of all nodes of earlier layers."""
    network = drawn("static", 16)
    assert isinstance(network, Static)
    weight_TS = network.graph.weight.flatten(1)
    received = network.downsample(images(2, 16))
    given = torch.empty(2, 0, 4, 4)
    for layer, nodes in enumerate(LAYERS):
        start, stop = given.shape[1], given.shape[1] + nodes
        if layer:
            received = torch.einsum("ts,bshw->bthw", weight_TS[start:stop, :start], given)
        norm = network.norm[layer]
        assert isinstance(norm, nn.InstanceNorm2d)
        normed = F.instance_norm(received, weight=norm.weight, bias=norm.bias, eps=1e-5)
        filters = network.conv.weight[start:stop]
        given = torch.cat((given, F.conv2d(normed.relu(), filters, padding=1, groups=nodes)), 1)
    outputs = torch.einsum("ts,bshw->bthw", weight_TS[-100:], given)
    logits_BK = network.fc(outputs[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(network(images(2, 16)), logits_BK, rtol=1e-4, atol=1e-4)


def test_has_800_nodes_of_one_filter_each() -> None:
    network = models.build(example.train())
    assert sum(LAYERS) == 800
    assert network.graph.weight.shape == (800, 800, 1, 1)
    assert network.conv.weight.shape == (800, 1, 3, 3)
    assert isinstance(network.norm, nn.ModuleList)
    assert [norm.num_features for norm in network.norm] == list(LAYERS)
