"""The networks: reproducible, indifferent to batch size and memory format, every weight trained."""

from __future__ import annotations

import dataclasses

import example
import pytest
import torch
from torch import Tensor, nn

from dnw import models
from dnw.config import WIDEST_STATIC, ConfigError
from dnw.wiring import edges_of, raw_weight

STATIC = {"name": "static"}
MOBILENET = {"name": "mobilenet"}
SMALL = {"name": "mobilenet", "small": True}


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
    assert torch.equal(one.graph.weight, again.graph.weight)
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


@pytest.mark.parametrize("model", [STATIC, MOBILENET, SMALL], ids=["static", "mobilenet", "small"])
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


@pytest.mark.parametrize("model", [STATIC, MOBILENET, SMALL], ids=["static", "mobilenet", "small"])
@pytest.mark.parametrize("size", [28, 32, 72])
def test_image_size_and_batch_of_one(model: dict[str, object], size: int) -> None:
    network = models.build(example.train(model=model, data__image_size=size, width=0.1))
    assert network(images(1, size)).shape == (1, 10)
    network.eval()
    pair = images(2, size)
    logits = network(pair)
    assert logits.isfinite().all()
    torch.testing.assert_close(network(pair[1:]), logits[1:], rtol=1e-4, atol=1e-5)


def test_smallest_image_of_the_static_network() -> None:
    assert models.build(example.train(data__image_size=16))(images(2, 16)).shape == (2, 10)
    with pytest.raises(ConfigError, match=r"data.image_size: must be at least 16 .* \(got 15\)"):
        models.build(example.train(data__image_size=15))


@pytest.mark.parametrize("model", [STATIC, MOBILENET], ids=["static", "mobilenet"])
def test_memory_format_of_the_images_does_not_matter(model: dict[str, object]) -> None:
    network = models.build(example.train(model=model)).eval()
    x = images(2)
    logits = network(x)
    assert torch.equal(network(x.contiguous(memory_format=torch.channels_last)), logits)
    network.to(memory_format=torch.channels_last)
    assert torch.equal(network(x), logits)


@pytest.mark.parametrize("model", [STATIC, MOBILENET, SMALL], ids=["static", "mobilenet", "small"])
def test_autocast_to_bf16(model: dict[str, object]) -> None:
    network = models.build(example.train(model=model, width=0.4))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images(2))
    assert logits.dtype == torch.bfloat16
    exact = network(images(2))
    assert (logits.float() - exact).abs().max() < 0.1 * exact.abs().max()
    logits.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_each_forward_masks_a_matrix_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = models.build(example.train(model=MOBILENET))
    calls = []
    for path, (_, edges) in edges_of(network).items():
        edges.register_forward_hook(lambda *_, path=path: calls.append(path))
    network(images(2))
    assert calls == [f"layers.{number}.graph" for number in range(5)]


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
