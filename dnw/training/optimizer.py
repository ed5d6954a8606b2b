"""The optimizer of a run, over all weights: an edge that isn't chosen is moved, and decays, too."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import nn

from dnw import optimizer_registry, user_classes
from dnw.config import ConfigError, Optim, Train
from dnw.models.torchvision_cpu import torchvision
from dnw.optimizer_registry import TIMM
from dnw.wiring import edges_of, raw_weight
from shards.user_class.names import is_user_class

Optimizer = torch.optim.Optimizer
_FUSED = frozenset({"sgd", "adam", "adamw"})  # in one kernel, on a CPU and on a GPU
_SHOWN = 5  # names in a message


def build_optimizer(model: nn.Module, train: Train) -> Optimizer:
    """Return the optimizer that `train.optim` names, over all weights of `model`.

    A setting that isn't given is the library's own; a checkpoint holds them all, and a run goes on with them.

    Raises:
        ConfigError: there is no such optimizer or option, or a pattern of optim.no_decay matches nothing; or
            it is a class of the user's own, which fails.
    """
    optim = train.optim
    if is_user_class(optim.name):
        own: Optimizer = user_classes.build(train, "optim.name", _groups(model, optim), lr=optim.lr)
        return own
    optimizer_registry.check(optim)
    settings: dict[str, Any] = {"lr": optim.lr, **optim.options}
    if optim.weight_decay is not None:
        settings["weight_decay"] = optim.weight_decay
    if optim.name == "sgd":
        settings |= {"momentum": optim.momentum, "nesterov": optim.nesterov}
    if optim.name in _FUSED:
        settings["fused"] = True
    groups = _groups(model, optim)
    try:
        return _class(optim.name)(groups, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optim.options: {optim.name} refuses them: {error}") from error


def clip(model: nn.Module, norm: float) -> None:
    """Scale the gradient of all weights together down to a norm, if it is larger; without waiting for it.

    It is that of the whole step, summed over all processes: each of them finds the same norm.
    """
    nn.utils.clip_grad_norm_(model.parameters(), norm)


def parameter_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters by the names that people call them: of a wired weight, layer.weight."""
    return {
        name.replace("parametrizations.weight.original", "weight"): parameter
        for name, parameter in model.named_parameters()
    }


def _class(name: str) -> Callable[..., Optimizer]:
    if not name.startswith(TIMM):
        classes = (one for one in vars(torch.optim).values() if isinstance(one, type))
        return next(one for one in classes if one.__name__.lower() == name)
    torchvision()  # timm imports it, too
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # noqa: PLC0415  (slow to import)

    return partial(create_optimizer_v2, opt=name.removeprefix(TIMM))


def _groups(model: nn.Module, optim: Optim) -> list[dict[str, Any]]:
    """Return the weights that decay, and those that don't; norms and biases are the vectors among them."""
    parameters = parameter_names(model)
    exempt = {name for pattern in optim.no_decay for name in _matching(pattern, parameters)}
    if not optim.decay_norms:
        exempt |= {name for name, one in parameters.items() if one.ndim == 1}
    groups: list[dict[str, Any]] = [
        {"params": [one for name, one in parameters.items() if name not in exempt]},
        {"params": [one for name, one in parameters.items() if name in exempt], "weight_decay": 0.0},
    ]
    if optim.wired_lr_factor != 1:
        groups = list(_by_rate(groups, model, optim.wired_lr_factor))
    return [group for group in groups if group["params"]]


def _by_rate(groups: list[dict[str, Any]], model: nn.Module, factor: float) -> Iterator[dict[str, Any]]:
    """Yield each group without its wired weights, and these in one of their own, whose rate is another."""
    wired = {id(raw_weight(module)) for module, _ in edges_of(model).values()}
    for group in groups:
        yield {**group, "params": [one for one in group["params"] if id(one) not in wired]}
        own = [one for one in group["params"] if id(one) in wired]
        yield {**group, "params": own, "lr_factor": factor}


def _matching(pattern: str, names: dict[str, nn.Parameter]) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        nearest = difflib.get_close_matches(pattern, names, n=_SHOWN, cutoff=0.0)
        raise ConfigError(
            f"optim.no_decay: {pattern!r} matches no parameter; "
            f"the nearest of {len(names)}: {', '.join(nearest)}"
        )
    return found
