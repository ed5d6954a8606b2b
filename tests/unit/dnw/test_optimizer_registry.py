"""Optimizers and their options, looked up without importing a library."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch
from example import train

from dnw import optimizer_registry
from dnw.config import ConfigError
from dnw.models.torchvision_cpu import torchvision


def check(name: str, **changes: Any) -> None:
    settings = {"optim__name": name, "optim__momentum": None, **changes}
    optimizer_registry.check(train(**settings).optim)


def test_torch_has_all_its_optimizers_with_their_parameters() -> None:
    found = optimizer_registry.optimizers("torch")
    classes = {
        name.lower(): one
        for name, one in vars(torch.optim).items()
        if isinstance(one, type)
        and issubclass(one, torch.optim.Optimizer)
        and one is not torch.optim.Optimizer
    }
    assert found.keys() == classes.keys()
    for name, one in classes.items():
        assert list(found[name].parameters) == list(inspect.signature(one.__init__).parameters)
    assert found["adamw"].options["betas"] == (0.9, 0.999)


def test_timm_has_all_its_optimizers() -> None:
    torchvision()
    import timm.optim

    listed = timm.optim.list_optimizers()  # type: ignore[attr-defined]
    known = {timm.optim.get_optimizer_info(str(name)).name for name in listed}  # type: ignore[attr-defined]
    known = {name for name in known if not name.startswith(("bnb", "fused"))}  # of further libraries
    assert {name.removeprefix("timm/") for name in optimizer_registry.optimizers("timm")} == known


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("adamx", {}, "optim.name: no optimizer 'adamx'; did you mean adam"),
        ("AdamW", {}, "optim.name: no optimizer 'AdamW'; did you mean adamw?"),
        ("lamb", {}, "optim.name: no optimizer 'lamb'; did you mean timm/lamb?"),
        ("timm/lam", {}, "optim.name: no optimizer 'timm/lam'; did you mean timm/lamb"),
        ("lbfgs", {}, "optim.name: lbfgs computes the loss several times in a step, which takes one; choose"),
        ("muon", {}, "optim.name: muon takes matrices alone; timm/muon takes all weights"),
        ("rprop", {}, "optim.weight_decay: rprop has none; leave it out"),
        ("adamw", {"optim__options": {"beta": 1}}, "optim.options.beta: adamw has no such option; did you"),
        ("adamw", {"optim__options": {"betas": 0.9}}, "optim.options.betas: must be a list of 2 numbers, as"),
        ("adamw", {"optim__options": {"betas": [0.9, 1.0]}}, "optim.options.betas: must be at least 0 and"),
        ("adamw", {"optim__options": {"eps": "small"}}, "optim.options.eps: must be a number, as 1e-08"),
        ("adamw", {"optim__options": {"amsgrad": 1}}, "optim.options.amsgrad: must be true or false"),
        ("adamw", {"optim__options": {"lr": 1}}, "optim.options.lr: set by optim.lr"),
    ],
)  # fmt: skip
def test_what_no_library_has_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(name, **changes)
    assert str(refused.value).startswith(message)


def test_options_are_taken() -> None:
    check("adamw", optim__options={"betas": [0.9, 0.95], "eps": 1e-6, "amsgrad": True})
    check("timm/lamb", optim__options={"max_grad_norm": None})


def test_looking_up_imports_no_library() -> None:
    program = (
        "import sys; from dnw.optimizer_registry import optimizers\n"
        "assert 'adamw' in optimizers('torch') and 'timm/lamb' in optimizers('timm')\n"
        "assert not {'torch', 'timm', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
