"""The networks: reproducible, indifferent to batch size and memory format, every weight trained."""

from __future__ import annotations

import dataclasses

import example
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchdiffeq import odeint

from dnw import models
from dnw.config import WIDEST_STATIC, ConfigError
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


def test_weights_start_as_torch_starts_a_convolution() -> None:
    model = models.build(example.train(model=MOBILENET))
    for module, _ in edges_of(model).values():
        bound = module.in_channels**-0.5
        weight = raw_weight(module).detach()
        assert 0.95 * bound < weight.abs().max() <= bound
        assert abs(float(weight.std()) / bound - 3**-0.5) < 0.02


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


@pytest.mark.parametrize("name", TINY)
def test_smallest_image_of_the_tiny_networks(name: str) -> None:
    assert models.build(example.train(model__name=name, data__image_size=16))(images(2, 16)).shape == (2, 10)
    with pytest.raises(
        ConfigError, match=rf"data.image_size: must be at least 16 for the {name} .* \(got 15\)"
    ):
        models.build(example.train(model__name=name, data__image_size=15))


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


@pytest.mark.parametrize("name", [*TINY, "mobilenet"])
def test_each_forward_masks_a_matrix_once(name: str) -> None:
    network = models.build(example.train(model__name=name))
    calls = []
    for path, (_, edges) in edges_of(network).items():
        edges.register_forward_hook(lambda *_, path=path: calls.append(path))
    network(images(2))
    assert calls == list(edges_of(network))
    assert len(calls) == (5 if name == "mobilenet" else 1)


def test_width_beyond_the_legal_edges_is_refused() -> None:
    """Here too, should it come past the check of the configuration."""
    widest = example.train(width=WIDEST_STATIC)
    models.build(widest)
    message = "width: 0.415 asks for 265600 edges in graph 0, which has 264960 legal ones: take at most 0.414"
    with pytest.raises(ConfigError, match=message):
        models.build(dataclasses.replace(widest, width=0.415))


def test_mobilenet_takes_every_width() -> None:
    network = models.build(example.train(model=SMALL, width=1))
    budgets = [edges.budget for _, edges in edges_of(network).values()]
    assert budgets == [2048, 24576, 98304, 1441792, 1572864, 10240]


def test_random_graph_of_the_papers_code_wastes_edges() -> None:
    """Its static network draws among blocks of 100 where layers have 192 nodes."""
    network = models.build(example.train(wiring={"name": "random", "reference_quirks": True}))
    _, edges = edges_of(network)["graph"]
    used = int((edges.mask.squeeze() & edges.layout.legal()).sum())
    assert int(edges.mask.sum()) == 32_000
    assert abs(used - 27_082) < 250  # another random stream than the paper's
    corrected = models.build(example.train(wiring__name="random"))
    _, edges = edges_of(corrected)["graph"]
    assert int((edges.mask.squeeze() & edges.layout.legal()).sum()) == 32_000


def test_random_graph_of_a_mobilenet_has_no_quirk() -> None:
    plain, quirky = (
        models.build(example.train(model=SMALL, wiring={"name": "random", "reference_quirks": quirks}))
        for quirks in (False, True)
    )
    for (_, one), (_, other) in zip(edges_of(plain).values(), edges_of(quirky).values(), strict=True):
        assert torch.equal(one.mask, other.mask)


def step_by_step(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    """One application of all nodes of a recurrent network to all of them, as the paper defines it."""
    nodes = network.odesolve["odefunc"] if hasattr(network, "odesolve") else network
    return nodes.norm(F.conv2d(nodes.conv(x_BCHW.relu()), nodes.graph.weight))  # type: ignore[arg-type]


def nodes_at_the_start(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    return F.pad(network.downsample(x_BCHW), (0, 0, 0, 0, 0, 768))


def test_discrete_network_leaves_out_only_what_changes_nothing() -> None:
    network = models.build(example.train(model__name="discrete")).eval()
    x_BCHW = nodes_at_the_start(network, images(2))
    for _ in range(5):
        x_BCHW = step_by_step(network, x_BCHW)
    logits = network.fc(x_BCHW[:, -100:, 2:4, 2:4].mean((2, 3)))
    torch.testing.assert_close(network(images(2)), logits, rtol=1e-4, atol=1e-5)


def test_continuous_network_integrates_its_nodes() -> None:
    network = models.build(example.train(model__name="continuous")).eval()
    calls = []

    def change(_: Tensor, x_BCHW: Tensor) -> Tensor:
        calls.append(x_BCHW)
        return step_by_step(network, x_BCHW)

    times = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        start = nodes_at_the_start(network, images(2))
        x_BCHW = odeint(change, start, times, rtol=1e-3, atol=1e-3)[1]
        logits = network.fc(x_BCHW[:, -100:, 2:4, 2:4].mean((2, 3)))
        torch.testing.assert_close(network(images(2)), logits, rtol=1e-3, atol=1e-4)
    assert network.evaluations == len(calls)
    assert x_BCHW[:, :32].min() < 0


def test_continuous_network_of_the_papers_code_is_another() -> None:
    right, quirky = (
        models.build(
            example.train(model__name="continuous", wiring={"name": "dnw", "reference_quirks": quirks})
        )
        for quirks in (False, True)
    )
    assert weights_equal(right, quirky)
    logits = right(images(2))
    assert (quirky(images(2)) - logits).abs().max() > 0.1 * logits.abs().max()


def test_recurrent_graph_may_join_any_nodes() -> None:
    _, edges = edges_of(models.build(example.train(model__name="discrete", width=1)))["graph"]
    assert edges.mask.all()
    assert (edges.layout.inputs, edges.layout.outputs, edges.layout.recurrent) == (32, 100, True)


def test_mobilenet_v1_is_as_large_as_published() -> None:
    """0.5 M parameters at width 0.25, 4.2 M at width 1 (Howard et al., table 6 and 7)."""
    for width, parameters in ((0.25, 470_072), (1, 4_231_976)):
        train = example.train(
            model__name="mobilenet_v1", wiring__name="complete", width=width, data__classes=1000
        )
        network = models.build(train)
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
        assert network.linear.in_features == 1024 * width


@pytest.mark.parametrize(("size", "pixels"), [(32, 32), (64, 64), (96, 48)])
def test_mobilenet_v1_keeps_the_resolution_of_small_images(size: int, pixels: int) -> None:
    train = example.train(
        model__name="mobilenet_v1", wiring__name="complete", data__image_size=size, width=0.1
    )
    network = models.build(train)
    assert network.conv1(images(1, size)).shape == (1, 3, pixels, pixels)
    assert network(images(2, size)).shape == (2, 10)


def test_mobilenet_v1_needs_a_channel() -> None:
    message = "width: 0.03 leaves none of 32 channels of model=mobilenet_v1: take at least 0.03125"
    with pytest.raises(ConfigError, match=message):
        models.build(example.train(model__name="mobilenet_v1", wiring__name="complete", width=0.03))
