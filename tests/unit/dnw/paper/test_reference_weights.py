"""Equality with the paper's own code: chosen edges, logits, and the import of its weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import example
import golden_weights as golden
import pytest
import torch
from torch import Tensor

from dnw import models
from dnw.paper.reference_weights import ImportStateError, import_state
from dnw.profile import profile
from dnw.wiring import edges_of


def imported(entry: golden.Entry, side: int | None = None) -> Any:
    """An entry's network, for its own images or for those of another side."""
    train = golden.train_of(entry)
    data = train.data if side is None else dataclasses.replace(train.data, image_size=side)
    model = models.build(dataclasses.replace(train, data=data))
    import_state(golden.weights(entry), model)
    model.eval()
    return model


@pytest.mark.parametrize("name", golden.MODELS)
def test_logits(name: str) -> None:
    entry = golden.entries()[name]
    with torch.no_grad():
        logits = imported(entry)(golden.images(entry))
    expected = torch.tensor(entry["logits"])
    assert (logits - expected).abs().max() <= golden.TOLERANCE[name] * expected.abs().max()


@pytest.mark.parametrize("name", golden.MOBILENETS)
def test_costs_and_chosen_edges(name: str) -> None:
    entry = golden.entries()[name]
    costs = profile(imported(entry, 224), 224)  # which that code counts for, whatever its images are
    assert (costs.params, costs.macs) == (entry["params"], entry["macs"])
    found = [{key: getattr(block, key) for key in entry["blocks"][0]} for block in costs.blocks]
    assert found[: len(entry["blocks"])] == entry["blocks"]


def test_without_quirks_the_same_budget_is_spent_on_legal_edges() -> None:
    entry = golden.entries()["mobilenet_dnw_x225_cifar"]
    quirky = imported(entry)
    model = models.build(example.train(width=0.225, model__name="mobilenet"))
    import_state(golden.weights(entry), model)
    for (_, edges), (_, loose) in zip(edges_of(model).values(), edges_of(quirky).values(), strict=True):
        assert int(edges.mask.sum()) == int(loose.mask.sum())
    illegal = [sum(block.illegal for block in profile(m, 32).blocks) for m in (model, quirky)]
    assert illegal == [0, 61_691]  # 39 % of 158,944


def static_state() -> dict[str, Tensor]:
    return golden.weights(golden.entries()["static_dnw"])


def test_prefix_of_data_parallel_is_dropped() -> None:
    entry = golden.entries()["static_dnw"]
    model = models.build(golden.train_of(entry)).eval()
    import_state({f"module.{key}": tensor for key, tensor in static_state().items()}, model)
    x = golden.images(entry)
    assert torch.equal(model(x), imported(entry)(x))


def test_difference_names_both_sides() -> None:
    state = static_state()
    del state["fc.bias"]
    state["fc.weight"] = torch.zeros(7, 100)
    state["more"] = torch.zeros(1)
    model = models.build(example.train())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ImportStateError) as error:
        import_state(state, model)
    assert str(error.value).splitlines() == [
        "the weights are those of another network; compare model, data and image size:",
        "  fc.bias: in the file missing, in the model (10,)",
        "  fc.weight: in the file (7, 100), in the model (10, 100)",
        "  more: in the file (1,), in the model missing",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_long_differences_are_cut() -> None:
    entry = golden.entries()["mobilenet_dnw_x225_cifar"]
    with pytest.raises(ImportStateError, match=r"\n  and \d+ more$"):
        import_state(golden.weights(entry), models.build(example.train()))


def test_random_graph_becomes_a_dnw_of_the_same_edges() -> None:
    state = static_state()
    mask = torch.rand(state["graph.weight"].shape, generator=torch.Generator().manual_seed(0)) < 0.04
    state["graph.mask"] = mask.float()
    model = models.build(example.train(wiring={"name": "dnw", "reference_quirks": True}))
    import_state(state, model)
    assert torch.equal(model.graph.weight, state["graph.weight"] * mask)  # type: ignore[arg-type]


def test_random_graph_is_not_taken_by_another_wiring() -> None:
    state = static_state()
    state["graph.mask"] = torch.ones_like(state["graph.weight"])
    with pytest.raises(ImportStateError, match=r"graph.mask: .*import it with wiring=dnw"):
        import_state(state, models.build(example.train(wiring__name="random")))
