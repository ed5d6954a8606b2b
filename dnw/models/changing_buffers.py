"""Buffers that a network changes in its forward, BatchNorm's aside, independent of the number of processes.

In each step every micro-batch begins with the same values, and the mean of what all micro-batches of all
ranks have made of them is kept. Of a running average that is the average over the step's micro-batches, as of
BatchNorm's statistics (dnw/training/running_stats.py); of what depends on weights alone, such as the vectors
of a spectral norm, it is what one micro-batch makes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dnw.config import ConfigError, Train, listed
from dnw.hardware.precision import autocast
from dnw.wiring import Edges
from shards.user_class.names import is_user_class

log = logging.getLogger(__name__)


class ChangingBuffers:
    """Some buffers of a network, by name: what is kept of them, and what a micro-batch makes of it."""

    def __init__(self, model: nn.Module, names: Iterable[str] = ()) -> None:
        """Keep what `model` has; it stays readable there between `show` and `renew`."""
        self.kept = {name: model.get_buffer(name) for name in names}
        self._places = [(model.get_submodule(path), last) for path, last in map(_parted, self.kept)]
        self.size = sum(tensor.numel() for tensor in self.kept.values())

    def renew(self) -> None:
        """Let a micro-batch begin with what is kept."""
        for (module, last), tensor in zip(self._places, self.kept.values(), strict=True):
            setattr(module, last, tensor.clone())

    def show(self) -> None:
        """Put what is kept into the network, as a state dict has it."""
        for (module, last), tensor in zip(self._places, self.kept.values(), strict=True):
            setattr(module, last, tensor)

    def collect(self, mean: Tensor, number: int) -> None:
        """Take what micro-batch `number` (from 0) has made of them into the mean [size] over those so far."""
        for (module, last), part in zip(self._places, self._parts(mean), strict=True):
            made = module.get_buffer(last).detach().flatten().to(part)
            if number == 0:
                part.copy_(made)
            else:
                part.lerp_(made, 1.0 / (number + 1))

    def keep(self, mean: Tensor) -> None:
        """Keep the mean [size] over all micro-batches; of whole numbers the nearest ones."""
        for tensor, part in zip(self.kept.values(), self._parts(mean), strict=True):
            tensor.copy_((part if tensor.is_floating_point() else part.round()).view_as(tensor))

    def _parts(self, flat: Tensor) -> Iterable[Tensor]:
        parts: tuple[Tensor, ...] = flat.split([tensor.numel() for tensor in self.kept.values()])
        return parts


def find_changing(model: nn.Module, train: Train, device: torch.device) -> list[str]:
    """Return the names of the buffers that a forward changes, by trying one on noise; nothing stays changed.

    Args:
        model: the network.
        train: says how large its images and micro-batches are.
        device: where the network is.

    Raises:
        ConfigError: one isn't in the state dict, so that a run that was killed would begin without it.
    """
    before, is_own = _buffers(model), is_user_class(train.model.name)
    if not before and not is_own:
        return []
    had = {name: (tensor, tensor._version, tensor.clone()) for name, tensor in model.named_buffers()}
    plain = _attributes(model)
    _try(model, train, device)
    after = _buffers(model)
    changed = [name for name, one in after.items() if name not in before or _is_other(had[name], one)]
    if is_own:
        _warn_of_attributes(plain, _attributes(model))
    for name, (tensor, _, values) in had.items():
        module, last = _place(model, name)
        setattr(module, last, tensor)
        tensor.copy_(values)
    _check(model, changed, before, after, train)
    return changed


def _try(model: nn.Module, train: Train, device: torch.device) -> None:
    size, was_training = train.data.image_size, model.training
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), autocast(train.precision, device):
        torch.default_generator.manual_seed(train.seed)
        images_BCHW = torch.randn(train.micro_batch, 3, size, size)
        model.train()
        model(images_BCHW.to(device))
    model.train(was_training)


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return those that aren't BatchNorm's, which are counted elsewhere, nor a wiring's."""
    aside = {
        id(tensor)
        for module in model.modules()
        if isinstance(module, _BatchNorm | Edges)
        for tensor in module.buffers()
    }
    return {name: tensor for name, tensor in model.named_buffers() if id(tensor) not in aside}


def _is_other(had: tuple[Tensor, int, Tensor], now: Tensor) -> bool:
    """Whether a buffer is another tensor, or was written to: with what it held, too, as it may be once."""
    tensor, version, _ = had
    return now is not tensor or now._version != version


def _check(
    model: nn.Module, changed: list[str], before: dict[str, Tensor], after: dict[str, Tensor], train: Train
) -> None:
    saved = model.state_dict().keys()
    for name in changed:
        _, last = _parted(name)
        where = f"model={train.model.name}: its buffer {name!r} changes in forward"
        if name in before and name not in saved:
            raise ConfigError(
                f"{where}, and is in no checkpoint: register_buffer({last!r}, ...) without persistent=False"
            )
        if name not in before or before[name].shape != after[name].shape:
            raise ConfigError(f"{where}, in its shape, too: register it with the shape that it will have")


def _attributes(model: nn.Module) -> dict[str, object]:
    """Return numbers and tensors that modules hold as plain attributes, by name."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in model.named_modules()
        if not isinstance(module, Edges)
        for name, value in vars(module).items()
        if isinstance(value, int | float | Tensor) and not hasattr(module, f"{name}_orig")
    }


def _warn_of_attributes(before: dict[str, object], now: dict[str, object]) -> None:
    changed = [
        name
        for name, value in now.items()
        if value is not before.get(name) and (isinstance(value, Tensor) or value != before.get(name))
    ]
    if changed:
        log.warning(
            "the network changes attributes in its forward that are in no checkpoint: %s; where a later step "
            "depends on one, the bits end there unless it is a buffer (register_buffer)",
            listed(changed),
        )


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, last = _parted(name)
    return model.get_submodule(path), last


def _parted(name: str) -> tuple[str, str]:
    path, _, last = name.rpartition(".")
    return path, last
