"""Costs of any network, compared with torchvision's own figures and with counting by hand."""

from __future__ import annotations

import example
import pytest
import torch
from torch import Tensor, nn

from dnw import models
from dnw.models.torchvision_cpu import torchvision
from dnw.profile import profile
from dnw.wiring import DnwEdges, edges_of, wire


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "densenet121", "convnext_tiny", "shufflenet_v2_x0_5", "vit_b_16"]
)
def test_as_torchvision_says(name: str) -> None:
    library = torchvision().models
    facts = next(iter(library.get_model_weights(name))).meta
    model = library.get_model(name, weights=None)
    costs = profile(model, 224)
    attention = 12 * 2 * 197**2 * 768 if name == "vit_b_16" else 0  # products of activations, not counted
    assert round((costs.macs + attention) / 1e9, 3) == facts["_ops"]
    uncounted = (module for module in model.modules() if not isinstance(module, nn.Conv2d | nn.Linear))
    small = sum(p.numel() for module in uncounted for p in module.parameters(recurse=False) if p.ndim < 2)
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    assert costs.params + small + biases >= 0.99 * facts["num_params"]
    assert costs.params < facts["num_params"]


class Odd(nn.Module):
    """Groups, a transposed convolution, a layer used twice, one never used, and weights handed to others."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(6, 2, 2, stride=2)
        self.twice = nn.Linear(2, 2)
        self.never = nn.Linear(2, 7)
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.scale = nn.Parameter(torch.ones(1, 2, 1, 1))
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(2, 10)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.norm(torch.cat([x_BCHW, x_BCHW[:, :1]], 1))
        x_BCHW = self.up(self.grouped(x_BCHW)) * self.scale
        x_BNC = self.twice(self.twice(x_BCHW.flatten(2).transpose(1, 2)))
        x_BNC, _ = self.attention(x_BNC, x_BNC, x_BNC, need_weights=False)
        return self.fc(x_BNC.mean(1))


def test_every_product_with_a_weight_is_counted() -> None:
    costs = profile(Odd(), 8)
    macs = {
        "grouped": 16 * 6 * 2 * 9,
        "up": 16 * 6 * 2 * 4,
        "twice": 2 * 64 * 4,
        "attention.in_proj_weight": 64 * 12,
        "attention.out_proj": 64 * 4,
        "fc": 20,
    }
    assert {block.name for block in costs.blocks} == set(macs)
    assert costs.macs == costs.effective_macs == sum(macs.values())
    assert costs.params == 6 * 2 * 9 + 6 * 2 * 4 + 4 + 12 + 4 + 20


def test_edges_alone_are_counted() -> None:
    model = Odd()
    budgets = {"grouped": 7, "twice": 1, "attention.out_proj": 3, "fc": 5}
    for name, budget in budgets.items():
        layer = model.get_submodule(name)
        wire(layer, DnwEdges(layer.weight.shape, budget))  # type: ignore[arg-type]
    costs = profile(model, 8)
    assert costs.params == 7 + 48 + 1 + 12 + 3 + 5
    assert costs.macs == 16 * 7 + 16 * 48 + 2 * 64 * 1 + 64 * 12 + 64 * 3 + 5


def test_nodes_of_a_grouped_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1, groups=2))
    wire(model[1], DnwEdges((6, 2, 1, 1), 3))
    _, edges = edges_of(model)["1"]
    edges.mask.zero_()
    for row, column in [(0, 0), (1, 0), (5, 1)]:  # sources 0, 0 and 3
        edges.mask[row, column] = True
    _, block = profile(model, 4).blocks
    assert (block.nodes, block.has_output, block.has_input, block.dead) == (4, 2, 3, 2)


def test_a_weight_made_of_the_weight_is_known_by_its_layer() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return self._conv_forward(x_BCHW, weight, self.bias)

    layer = Standardized(3, 5, 3, padding=1)
    wire(layer, DnwEdges(layer.weight.shape, 40))
    assert profile(nn.Sequential(layer), 8).macs == 64 * 40


def test_the_network_is_left_as_it_was() -> None:
    model = models.build(example.train(model__name="resnet18", width=None, sparsity=0.9, data__image_size=32))
    model.train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    profile(model, 32)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_sparse_network_has_its_share_of_the_costs() -> None:
    dense, sparse = (
        profile(models.build(example.train(model__name="resnet18", width=None, **changes)), 32)
        for changes in ({"wiring__name": "complete"}, {"sparsity": 0.75})
    )
    assert abs(sparse.macs / dense.macs - 0.25) < 1e-3
    assert abs(sparse.params / dense.params - 0.25) < 1e-4
    assert [block.name for block in sparse.blocks] == [block.name for block in dense.blocks]


def test_in_inference_mode_nothing_is_missed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))
    expected = profile(model, 8)
    with torch.inference_mode():
        assert profile(model, 8) == expected
    assert expected.macs > 0
