"""Weights from a file: taken entry by entry, or refused whole."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from example import train
from safetensors.torch import save_file
from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.pretrained import weights_file
from dnw.pretrained.loading import init_from_file
from dnw.training import checkpoint
from dnw.training.checkpoint import Identity
from dnw.training.distributed import ALONE
from dnw.training.trainer import Trainer
from dnw.wiring import edges_of, raw_weight
from dnw.wiring.network import wire_network

SCHEDULED = ("rigl", "set", "gmp", "acdc", "str", "lottery", "edge_popup")


def network(seed: int, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    layers = OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), pool=nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(OrderedDict(layers, flat=nn.Flatten(), fc=nn.Linear(8, classes)))


def config(path: Path, wiring: str = "dnw", **changes: Any) -> Train:
    """Build the configuration of a network that isn't this project's: the name stands for it."""
    settings = {"model__name": "torchvision/resnet18", "width": None, "sparsity": 0.5, **changes}
    fingerprint = weights_file.digest(path) if path.exists() else ""
    return train(wiring__name=wiring, init=str(path), init_fingerprint=fingerprint, **settings)


def started(wanted: Train, classes: int = 10) -> tuple[nn.Module, str]:
    model = network(1, classes)
    wire_network(model, wanted)
    return model, init_from_file(wanted, model)


def weights(classes: int = 10) -> dict[str, Tensor]:
    return network(0, classes).state_dict()


def wrapped(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


FORMS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": dict,
    "DataParallel": lambda state: wrapped(state, "module."),
    "compiled in DDP": lambda state: wrapped(state, "module._orig_mod."),
    "Lightning": lambda state: {"epoch": 1, "state_dict": wrapped(state, "model."), "hyper_parameters": {}},
    "timm": lambda state: {"epoch": 1, "state_dict": state, "state_dict_ema": network(7).state_dict()},
    "an average alone": lambda state: {"model_ema": {"n_averaged": torch.tensor(3), **state}},
    "halves": lambda state: {n: t.half() if t.is_floating_point() else t for n, t in state.items()},
    "no counts": lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("form", FORMS)
def test_entries_are_taken_and_edges_chosen_by_them(tmp_path: Path, form: str) -> None:
    torch.save(FORMS[form](weights()), tmp_path / "x.pth")
    model, said = started(config(tmp_path / "x.pth"))
    ((conv, edges), (fc, _)) = edges_of(model).values()
    expected = weights()
    if form == "halves":
        expected = {name: tensor.half().float() for name, tensor in expected.items()}
    assert torch.equal(raw_weight(conv), expected["conv.weight"])
    assert torch.equal(raw_weight(fc), expected["fc.weight"])
    strongest = expected["conv.weight"].abs().flatten().topk(108).indices
    assert torch.equal(edges.mask.flatten().nonzero()[:, 0], strongest.sort().values)
    assert said.startswith(f"begins with 8 entries of {tmp_path / 'x.pth'}")
    assert ("names taken without m" in said) == (form in {"DataParallel", "compiled in DDP", "Lightning"})
    assert ("the average in it (state_dict_ema) not taken" in said) == (form == "timm")


def test_a_classifier_of_another_number_of_classes_is_drawn_anew(tmp_path: Path) -> None:
    save_file(weights(classes=1000), tmp_path / "x.safetensors")
    model, said = started(config(tmp_path / "x.safetensors"))
    assert said.endswith("; fc.weight, fc.bias drawn anew: 1000 classes there, 10 here")
    conv, fc = (raw_weight(module) for module, _ in edges_of(model).values())
    assert torch.equal(conv, weights()["conv.weight"])
    assert torch.equal(fc, network(1).state_dict()["fc.weight"])


@pytest.mark.parametrize("wiring", SCHEDULED)
def test_a_wiring_begins_as_if_the_network_had_been_built_so(tmp_path: Path, wiring: str) -> None:
    torch.save(weights(), tmp_path / "x.pth")
    wanted = config(tmp_path / "x.pth", wiring)
    trainers = []
    for seed in (1, 0):
        model = network(seed)
        wire_network(model, wanted)
        trainers.append(Trainer(wanted, model, ALONE, samples=120))
    init_from_file(wanted, trainers[0].model)
    trainers[0].take_weights()
    ours, theirs = (trainer.snapshot(Identity("a", "b", "c", "d")) for trainer in trainers)
    for one, other in ((ours.model, theirs.model), (ours.masks, theirs.masks)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_of_another_wiring_gives_its_weights(tmp_path: Path) -> None:
    for wiring in ("set", "edge_popup"):
        model = network(0)
        wanted = config(tmp_path / "none", wiring)
        wire_network(model, wanted)
        saved = Trainer(wanted, model, ALONE, samples=120).snapshot(Identity("a", "b", "c", "d"))
        checkpoint.write(tmp_path / f"{wiring}.pt", checkpoint.encode(saved))
    model, said = started(config(tmp_path / "set.pt"))
    assert said == f"begins with 8 entries of {tmp_path / 'set.pt'}; edges chosen anew"
    assert torch.equal(raw_weight(model.conv) != 0, network_mask(tmp_path / "set.pt"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="of wiring=edge_popup, which trains scores, not weights"):
        started(config(tmp_path / "edge_popup.pt"))


def network_mask(path: Path) -> Tensor:
    return checkpoint.read(path).masks["conv"]


def _without(*names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights().items() if name not in names}


REFUSED: dict[str, tuple[Any, str]] = {
    "another network": (
        {**_without("fc.bias"), "fc.weight": torch.zeros(1000, 9), "head.bias": torch.zeros(3)},
        r"weights of another network: missing fc.bias; unexpected head.bias; "
        r"differing fc.weight \(1000, 9\) there, \(10, 8\) here$",
    ),
    "many": (
        {f"layer{number}.weight": torch.zeros(1) for number in range(9)},
        "missing conv.bias, conv.weight, fc.bias, fc.weight and 4 more; unexpected layer0.weight, "
        "layer1.weight, layer2.weight, layer3.weight and 5 more$",
    ),
    "another layer": (
        {**weights(), "norm.bias": torch.zeros(7)},
        r"differing norm.bias \(7,\) there, \(8,\) here$",
    ),
    "numbers": (
        {**weights(), "fc.bias": torch.zeros(10, dtype=torch.int8)},
        r"differing fc.bias \(10,\) of torch.int8 there, \(10,\) here$",
    ),
    "not finite": ({**weights(), "fc.bias": torch.full((10,), torch.nan)}, "aren't finite, in fc.bias$"),
    "no state": ({"epoch": 3, "optimizer": {}}, "no state_dict in it, it holds epoch, optimizer; save model"),
    "a list": ([1, 2], "no state_dict in it, it holds a list; save"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    values, said = REFUSED[kind]
    torch.save(values, tmp_path / "x.pth")
    wanted = config(tmp_path / "x.pth")
    model = network(1)
    wire_network(model, wanted)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match=f"^init: {tmp_path}/x.pth: .*{said}") as error:
        init_from_file(wanted, model)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_file_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(weights(), path)
    wanted = config(path)
    torch.save(weights(classes=9), path)
    with pytest.raises(ConfigError, match="another file than the run was prepared with; put that back"):
        started(wanted)
    old = dataclasses.replace(wanted, init_fingerprint="")
    torch.save(weights(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ConfigError, match="damaged, or more than tensors, numbers and text"):
        started(old)
    path.unlink()
    with pytest.raises(ConfigError, match=r"x.pth: not there on .*; put it where the nodes see it"):
        started(wanted)


def test_older_names_and_classifiers_on_the_way_are_those_of_torchvision(tmp_path: Path) -> None:
    named = {"aux1.fc.weight": torch.zeros(3, 3), **weights()}
    torch.save(named, tmp_path / "x.pth")
    _, said = started(config(tmp_path / "x.pth", model__name="torchvision/googlenet"))
    assert said.endswith("; aux1.* left out, which this network is built without")
