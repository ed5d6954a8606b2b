"""Every optimizer that is offered: it trains, and goes on from a checkpoint with the same bits."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from example import train
from torch import nn

from dnw import models, optimizer_registry
from dnw.config import ConfigError, Train
from dnw.models.torchvision_cpu import torchvision
from dnw.training.optimizer import build_optimizer, clip, parameter_names
from dnw.wiring import edges_of, raw_weight

OFFERED = [
    name
    for library in ("torch", "timm")
    for name in optimizer_registry.optimizers(library)
    if name not in optimizer_registry.REFUSED
]


def configured(name: str, **changes: Any) -> Train:
    momentum = 0.9 if name == "sgd" else None
    decay = None if name == "rprop" else 0.01
    settings = {
        "optim__name": name,
        "optim__momentum": momentum,
        "optim__weight_decay": decay,
        "optim__lr": 0.01,
    }
    return train(**settings | {f"optim__{key}": value for key, value in changes.items()})


def network() -> nn.Sequential:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
    return nn.Sequential(conv, norm, nn.Flatten(), nn.Linear(16, 5))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    images_BCHW = torch.linspace(-1, 1, 384).view(8, 3, 4, 4).sin() + number
    nn.functional.cross_entropy(model(images_BCHW), torch.arange(8) % 5).backward()
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * (number + 1)
    optimizer.step()
    model.zero_grad()


@pytest.mark.parametrize("name", OFFERED)
def test_it_goes_on_from_a_checkpoint_with_the_same_bits(name: str) -> None:
    whole, first, second = network(), network(), network()
    optimizers = [
        build_optimizer(model, configured(name, decay_norms=False)) for model in (whole, first, second)
    ]
    before = whole.state_dict()["3.weight"].clone()
    for number in range(3):
        step(whole, optimizers[0], number)
    step(first, optimizers[1], 0)
    saved = io.BytesIO()
    torch.save([first.state_dict(), optimizers[1].state_dict()], saved)
    saved.seek(0)
    weights, state = torch.load(saved, weights_only=True)
    second.load_state_dict(weights)
    optimizers[2].load_state_dict(state)
    for number in (1, 2):
        step(second, optimizers[2], number)
    assert all(map(torch.equal, whole.state_dict().values(), second.state_dict().values()))
    assert not torch.equal(before, whole.state_dict()["3.weight"])


def test_options_and_decay_arrive() -> None:
    made = build_optimizer(network(), configured("adamw", options={"betas": [0.9, 0.95]}, weight_decay=0.05))
    (group,) = made.param_groups
    assert (group["betas"], group["weight_decay"], group["lr"], group["eps"]) == (
        (0.9, 0.95),
        0.05,
        0.01,
        1e-8,
    )


def test_decay_that_is_not_set_is_the_librarys_own() -> None:
    assert (
        build_optimizer(network(), configured("adamw", weight_decay=None)).param_groups[0]["weight_decay"]
        == 0.01
    )


def test_parameters_are_excepted_from_decay_by_name() -> None:
    model = models.build(train())  # wired: its weight is called graph.weight, not after a parametrization
    made = build_optimizer(model, configured("sgd", no_decay=["graph.*"]))
    decaying, exempt = ({id(one) for one in group["params"]} for group in made.param_groups)
    names = parameter_names(model)
    assert {name for name, one in names.items() if id(one) in exempt} == {
        n for n in names if n.startswith("graph.")
    }
    assert len(decaying) + len(exempt) == len(names)
    assert [group["weight_decay"] for group in made.param_groups] == [0.01, 0.0]


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"optim.no_decay: 'norm\*' matches no parameter; the nearest of 5: "
    ):
        build_optimizer(network(), configured("sgd", no_decay=["norm*"]))


def test_what_the_library_refuses_is_told() -> None:
    with pytest.raises(ConfigError, match=r"optim.options: sgd refuses them: Nesterov"):
        build_optimizer(network(), configured("sgd", nesterov=True, options={"dampening": 0.5}))


def test_clipping_scales_all_gradients_together() -> None:
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    clip(model, 1.0)
    gradients = torch.cat([one.grad.flatten() for one in model.parameters()])
    assert gradients.norm() == pytest.approx(1.0, rel=1e-4)
    assert gradients.min() == gradients.max()


def test_wired_weights_have_a_rate_of_their_own() -> None:
    model = models.build(train())
    wired = {id(raw_weight(module)) for module, _ in edges_of(model).values()}
    groups = build_optimizer(model, configured("sgd", wired_lr_factor=0.1, decay_norms=False)).param_groups
    rates = {id(one): group.get("lr_factor", 1.0) for group in groups for one in group["params"]}
    assert rates == {id(one): 0.1 if id(one) in wired else 1.0 for one in model.parameters()}
    decays = {id(one): group["weight_decay"] for group in groups for one in group["params"]}
    assert all((decays[id(one)] > 0) == (one.ndim > 1) for one in model.parameters())
    usual = build_optimizer(model, configured("sgd", decay_norms=False)).param_groups
    assert not any("lr_factor" in group for group in usual)


def test_decay_is_left_off_where_timm_leaves_it_off_and_its_adamw_steps_alike() -> None:
    torchvision()  # timm imports it, too
    timm = pytest.importorskip("timm.optim")
    ours, theirs = network(), network()
    made = build_optimizer(ours, configured("adamw", decay_norms=False))
    legacy = timm.create_optimizer_v2(theirs, opt="adamwlegacy", lr=0.01, weight_decay=0.01)
    sizes = [
        {group["weight_decay"]: sorted(one.numel() for one in group["params"]) for group in one.param_groups}
        for one in (made, legacy)
    ]
    assert sizes[0] == sizes[1]
    for number in range(3):
        step(ours, made, number)
        step(theirs, legacy, number)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)
