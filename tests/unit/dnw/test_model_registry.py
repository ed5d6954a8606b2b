"""The names of all networks, looked up without importing a library."""

from __future__ import annotations

import subprocess
import sys

import example
import pytest

from dnw import model_registry
from dnw.config import ConfigError, Train
from dnw.models.torchvision_cpu import torchvision


def train(name: str) -> Train:
    return example.train(width=None, sparsity=0.5, model__name=name)


def test_torchvision_has_all_its_classifiers() -> None:
    models = torchvision().models
    assert model_registry.names("torchvision") == models.list_models(module=models)


def test_timm_has_all_its_networks() -> None:
    torchvision()
    import timm

    assert model_registry.names("timm") == sorted(timm.list_models())


@pytest.mark.parametrize("name", ["resnet50", "torchvision/resnet50", "timm/resnet26d"])
def test_known_networks_pass(name: str) -> None:
    model_registry.check(train(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet26e", "model.name: timm has no classifier 'resnet26e'; did you mean resnet26"),
        ("timm/resnet26d.bt_in1k", "model.name: timm has no classifier 'resnet26d.bt_in1k'; did you mean"),
        (
            "torchvision/fcn_resnet50",
            "model.name: torchvision has no classifier 'fcn_resnet50'; did you mean",
        ),
        ("torchvision/", "model.name: torchvision has no classifier ''$"),
        ("torchvision/zzzzzzz", "model.name: torchvision has no classifier 'zzzzzzz'$"),
    ],
)
def test_unknown_networks_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model_registry.check(train(name))


def test_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    model_registry.names.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"model.name: timm is not installed; python -m pip install timm"):
        model_registry.check(train("timm/resnet26d"))


def test_looking_up_imports_no_library() -> None:
    program = (
        "import sys, dnw.model_registry\n"
        "assert 'resnet18' in dnw.model_registry.names('torchvision')\n"
        "assert 'resnet26d' in dnw.model_registry.names('timm')\n"
        "assert not {'torch', 'torchvision', 'timm', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
