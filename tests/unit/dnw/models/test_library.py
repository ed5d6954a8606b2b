"""Networks that are no graphs of channels: the paper's ResNets, and those of torchvision and timm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import example
import pytest
import torch
from torch import Tensor, nn

from dnw import models
from dnw.config import ConfigError, Train
from dnw.models import library
from dnw.wiring import choose_all, edges_of, raw_weight

SPARSITY = 0.9
LIBRARY = ("torchvision/mobilenet_v3_small", "timm/test_vit")
NAMES = ("resnet18", *LIBRARY)


def train(name: str, **changes: Any) -> Train:
    size = {"data__image_size": 48}
    return example.train(width=None, **{"sparsity": SPARSITY, "model__name": name, **size, **changes})


def images(batch: int = 4, size: int = 48) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def apart(one: Tensor, other: Tensor) -> float:
    return float(((one - other).abs().max() / other.abs().max()).detach())


def layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: one for name, one in model.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}


def assert_exact(model: nn.Module) -> None:
    """Every layer keeps its budget: in the mask, and in the weights that the network computes with."""
    wired = edges_of(model)
    assert wired.keys() == layers(model).keys()
    for name, (module, edges) in wired.items():
        budget = math.ceil((1 - Fraction(str(SPARSITY))) * raw_weight(module).numel())
        assert int(edges.mask.sum()) == edges.budget == budget, name
        assert not (module.weight != 0)[~edges.mask].any(), name


@pytest.fixture(params=[False, True], ids=["contiguous", "channels_last"])
def channels_last(request: pytest.FixtureRequest) -> Iterator[bool]:
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_exactly_the_budget_is_kept_and_all_learn(name: str, channels_last: bool) -> None:
    model = models.build(train(name, model__channels_last=channels_last)).train()
    assert_exact(model)
    logits = model(images())
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
    for path, (module, edges) in edges_of(model).items():
        assert (raw_weight(module).grad[~edges.mask] != 0).any(), path
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    before = {path: edges.mask.clone() for path, (_, edges) in edges_of(model).items()}
    choose_all(model, step=1)
    assert_exact(model)
    assert any((edges.mask != before[path]).any() for path, (_, edges) in edges_of(model).items())


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_from_a_state_dict(name: str, channels_last: bool) -> None:
    trained = models.build(train(name, seed=1)).eval()
    other = models.build(train(name, seed=2, model__channels_last=channels_last)).eval()
    logits = trained(images())
    assert apart(other(images()), logits) > 0.1
    other.load_state_dict(trained.state_dict())
    choose_all(other, step=0)
    assert_exact(other)
    for (_, one), (_, two) in zip(edges_of(trained).values(), edges_of(other).values(), strict=True):
        assert torch.equal(one.mask, two.mask)
    assert apart(other(images()), logits) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_memory_format_is_kept(name: str) -> None:
    model = models.build(train(name, model__channels_last=True))
    layout = {"memory_format": torch.channels_last}
    for path, module in layers(model).items():
        if module.weight.ndim == 4:
            assert raw_weight(module).is_contiguous(**layout), path
            assert module.weight.is_contiguous(**layout), path
    seen = []
    next(iter(layers(model).values())).register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].is_contiguous(**layout))
    )
    model(images())
    assert seen == [True]


@pytest.mark.parametrize("name", NAMES)
def test_autocast_to_bf16(name: str) -> None:
    model = models.build(train(name)).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images())
    assert logits.dtype == torch.bfloat16
    logits.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert_exact(model)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wiring", ["dnw", "random"])
def test_network_is_a_function_of_the_seed(name: str, wiring: str) -> None:
    state = torch.random.get_rng_state()
    one, again, other = (models.build(train(name, seed=seed, wiring__name=wiring)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for path, tensor in one.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[path]), path
    for path, (module, edges) in edges_of(one).items():
        assert torch.equal(edges.mask, edges_of(again)[path][1].mask)
        assert not torch.equal(raw_weight(module), raw_weight(edges_of(other)[path][0])), path
        assert not torch.equal(edges.mask, edges_of(other)[path][1].mask), path


def test_random_layers_follow_the_global_random_state() -> None:
    """So that a seed before each forward makes a run repeatable, whatever came before."""
    model = models.build(train("torchvision/mobilenet_v3_small")).train()
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model(images()))
    assert torch.equal(outputs[0], outputs[1])
    assert apart(outputs[0], outputs[2]) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_complete_network_has_the_same_keys_and_all_weights(name: str) -> None:
    complete = models.build(train(name, wiring__name="complete", sparsity=None))
    assert complete.state_dict().keys() == models.build(train(name)).state_dict().keys()
    for module, edges in edges_of(complete).values():
        assert edges.mask.all()
        assert torch.equal(module.weight, raw_weight(module))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_starts_as_in_the_paper(name: str) -> None:
    model = models.build(train(name, data__classes=100))
    assert model.fc.bias is None
    assert raw_weight(model.fc).shape == (100, model.fc.in_channels, 1, 1)  # type: ignore[arg-type]
    for path, (module, _) in edges_of(model).items():
        weight = raw_weight(module).detach()
        expected = math.sqrt(2 / weight[0].numel())
        assert abs(float(weight.std()) / expected - 1) < 0.03, path


def test_resnets_stride_in_the_three_by_three_convolution() -> None:
    model = models.build(train("resnet50"))
    assert (model.layer2[0].conv1.stride, model.layer2[0].conv2.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize(
    ("name", "size"), [("torchvision/vit_b_32", 64), ("timm/test_vit", 64), ("timm/test_resnet", 40)]
)
def test_image_size_reaches_the_network(name: str, size: int) -> None:
    model = models.build(train(name, data__image_size=size)).eval()
    with torch.no_grad():
        assert model(images(2, size)).shape == (2, 10)


def test_googlenet_gives_out_its_logits_alone() -> None:
    model = models.build(train("torchvision/googlenet")).train()
    assert model(images(2)).shape == (2, 10)


def test_images_too_small_for_a_network_are_refused() -> None:
    message = (
        r"model.name: torchvision/inception_v3 can't be built for images of 48x48 pixels "
        r"\(.*\): set another data.image_size, or choose another network"
    )
    with pytest.raises(ConfigError, match=message):
        models.build(train("torchvision/inception_v3"))


def test_network_without_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Features(nn.Sequential):
        def forward(self, x_BCHW: Tensor) -> Any:
            return super().forward(x_BCHW) if self.whole else [x_BCHW]

    for whole, found in ((True, r"\(1, 4, 46, 46\)"), (False, "list")):
        network = Features(nn.Conv2d(3, 4, 3))
        network.whole = whole  # type: ignore[assignment]
        monkeypatch.setattr(library, "_from_timm", lambda *_, built=network: built)
        message = rf"timm/test_vit gives out {found} for one image where logits of shape \(1, 10\) are needed"
        with pytest.raises(ConfigError, match=message):
            models.build(train("timm/test_vit"))


def test_unknown_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"torchvision has no classifier 'resnet19'; did you mean resnet1"):
        models.build(train("torchvision/resnet19"))
