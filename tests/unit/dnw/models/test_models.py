"""The networks: reproducible, indifferent to batch size and memory format, every weight trained."""

from __future__ import annotations

import example
import pytest
import torch
from recurrent_nodes import nodes_at_the_start, step_by_step
from torch import Tensor, nn

from dnw import models
from dnw.wiring import edges_of, raw_weight

MOBILENET = {"name": "mobilenet"}
SMALL = {"name": "mobilenet", "small": True}
TINY = ("static", "discrete", "continuous")
GRAPHS = pytest.mark.parametrize(
    "model", [*({"name": name} for name in TINY), MOBILENET, SMALL], ids=[*TINY, "mobilenet", "small"]
)
TOLERANCE = {"continuous": 1e-2}  # the solver's steps depend on all images


def images(batch: int, size: int = 32) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def weights_equal(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("wiring", ["dnw", "random"])
def test_network_is_a_function_of_the_seed(wiring: str) -> None:
    one, again, other = (
        models.build(example.train(seed=seed, wiring__name=wiring)) for seed in (2**62 + 1, 2**62 + 1, 2)
    )
    assert weights_equal(one, again)
    assert torch.equal(one.graph.weight, again.graph.weight)  # type: ignore[arg-type]
    assert not weights_equal(one, other)
    masks = [edges_of(model)["graph"][1].mask for model in (one, again, other)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_building_leaves_the_global_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    models.build(example.train())
    assert torch.equal(torch.random.get_rng_state(), state)


@GRAPHS
@pytest.mark.parametrize("wiring", ["dnw", "random", "complete"])
def test_every_parameter_learns(model: dict[str, object], wiring: str) -> None:
    network = models.build(example.train(model=model, wiring__name=wiring, width=0.1))
    network(images(2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    for module, edges in edges_of(network).values():
        learns = raw_weight(module).grad != 0
        trained = edges.legal if wiring == "dnw" else edges.mask
        if trained is not None:
            assert not (learns & ~trained).any()
        if wiring == "dnw":
            assert learns.sum() > edges.budget


@GRAPHS
@pytest.mark.parametrize("size", [28, 32, 72])
@torch.no_grad()
def test_image_size_and_batch_of_one(model: dict[str, object], size: int) -> None:
    network = models.build(example.train(model=model, data__image_size=size, width=0.1))
    assert network(images(1, size)).shape == (1, 10)
    network.eval()
    pair = images(2, size)
    logits = network(pair)
    assert logits.isfinite().all()
    apart = (network(pair[1:]) - logits[1:]).abs().max()
    assert apart <= TOLERANCE.get(str(model["name"]), 1e-4) * logits.abs().max()


@pytest.mark.parametrize("name", [*TINY, "mobilenet"])
def test_memory_format_of_the_images_does_not_matter(name: str) -> None:
    network = models.build(example.train(model__name=name)).eval()
    x = images(2)
    logits = network(x)
    assert torch.equal(network(x.contiguous(memory_format=torch.channels_last)), logits)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert torch.equal(network(x), logits)


@GRAPHS
def test_autocast_to_bf16(model: dict[str, object]) -> None:
    size = 16 if model["name"] in TINY else 32  # not every CPU is quick in bf16
    network = models.build(example.train(model=model, width=0.4, data__image_size=size))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images(2, size))
    assert logits.dtype == torch.bfloat16
    exact = network(images(2, size))
    assert (logits.float() - exact).abs().max() < 0.1 * exact.abs().max()
    logits.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_discrete_network_leaves_out_only_what_changes_nothing() -> None:
    network = models.build(example.train(model__name="discrete")).eval()
    x_BCHW = nodes_at_the_start(network, images(2))
    for _ in range(5):
        x_BCHW = step_by_step(network, x_BCHW)
    logits = network.fc(x_BCHW[:, -100:, 2:4, 2:4].mean((2, 3)))
    torch.testing.assert_close(network(images(2)), logits, rtol=1e-4, atol=1e-5)


def test_recurrent_graph_may_join_any_nodes() -> None:
    _, edges = edges_of(models.build(example.train(model__name="discrete", width=1)))["graph"]
    assert edges.mask.all()
    assert (edges.layout.inputs, edges.layout.outputs, edges.layout.recurrent) == (32, 100, True)
