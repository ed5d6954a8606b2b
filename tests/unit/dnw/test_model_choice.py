"""model= on the command line: a network of a library is an option as any file is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from dnw import model_registry
from dnw.compose import CONFIGS, training
from dnw.config import NETWORKS, ConfigError
from hydra_plugins.dnw_networks import Networks
from launch.compose import compose

SPARSE = ("+exp=static_dnw", "width=null", "sparsity=0.5")


@pytest.fixture
def no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["slurm.py"])
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet26d"])
def test_network_of_a_library_is_an_option(name: str) -> None:
    model = training([*SPARSE, f"model={name}", "model.channels_last=true"]).model
    assert (model.name, model.channels_last, model.small) == (name, True, False)


def test_every_network_of_our_own_has_a_file() -> None:
    for name in NETWORKS:
        assert name in {path.stem for path in (CONFIGS / "model").glob("*.yaml")}
        share = ["sparsity=0.5"] if name.startswith("resnet") else ["width=0.3"]
        words = ["+exp=static_dnw", "width=null", f"model={name}", *share]
        assert training([*words, "wiring=complete", "sparsity=null"]).model.name == name


@pytest.mark.usefixtures("no_hydra")
def test_sweep_over_networks() -> None:
    composed = compose(["-m", *SPARSE, "model=timm/resnet26d,torchvision/resnet18,static"])
    found = [(one.values["model"]["name"], one.overrides[-1]) for one in composed]
    names = ["timm/resnet26d", "torchvision/resnet18", "static"]
    assert found == [(name, f"model={name}") for name in names]


def test_experiment_names_a_network_of_a_library(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /model: timm/resnet26d\n  - override /optim: medium\n\n"
        "exp: mine\nsparsity: 0.9\nmodel:\n  channels_last: true\n"
    )
    train = training([f"hydra.searchpath=[file://{tmp_path}]", "+exp=mine"])
    assert (train.model.name, train.model.channels_last) == ("timm/resnet26d", True)
    words = [f"hydra.searchpath=[file://{tmp_path}]", "+exp=mine", "model=torchvision/resnet18"]
    assert training(words).model.name == "torchvision/resnet18"


@pytest.mark.usefixtures("no_hydra")
@pytest.mark.parametrize("word", ["model=tim/resnet26d", "model=timm/resnet/26d", "optim=timm/resnet26d"])
def test_no_other_words_are_taken_for_networks(word: str) -> None:
    with pytest.raises(ConfigError, match="no option"):
        compose([*SPARSE, word])


def test_group_lists_its_names() -> None:
    networks = Networks("dnw", "networks://")
    assert networks.list("model", ObjectType.GROUP) == ["torchvision", "timm"]
    assert networks.list("model", ObjectType.CONFIG) == []
    assert networks.list("model/timm", None) == model_registry.names("timm")
    assert networks.is_group("model/timm/")
    assert not networks.is_group("")
    assert not networks.is_group("data")
