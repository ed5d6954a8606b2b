"""Begin with weights from a file, whose entries are compared with the network's before any is taken."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.hardware.health import node_name
from dnw.pretrained import weights_file
from dnw.training import checkpoint
from dnw.training.finite import is_finite
from dnw.wiring import Choice

State = dict[str, Tensor]
_HELD = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")  # taken where there are no others
_WIRED = "parametrizations.weight."
_COUNT = "num_batches_tracked"  # of a norm; a run counts its own steps
_SHOWN = 4  # entries in a message
# classifiers on the way, which networks are built without
_AUXILIARY = {"torchvision/googlenet": ("aux1.", "aux2."), "torchvision/inception_v3": ("AuxLogits.",)}


def init_from_file(train: Train, model: nn.Module) -> str:
    """Give `model` the weights in the file train.init and choose its edges by them; return what was done.

    Entries are named as in the network without wirings; names that all begin with the same component
    (`module.`) are taken without it. A classifier of another number of classes stays as it was drawn. Counts
    of norms aren't taken.

    Raises:
        ConfigError: the file is gone or another one than it was; what it holds isn't this network's, can't be
            read, or isn't finite.
    """
    path = Path(train.init)
    if not path.exists():
        raise ConfigError(f"init: {path}: not there on {node_name()}; put it where the nodes see it")
    weights_file.check(path)
    if train.init_fingerprint and weights_file.digest(path) != train.init_fingerprint:
        raise ConfigError(f"init: {path}: another file than the run was prepared with; put that back")
    found, notes = _state(path)
    found, stripped = _fitted(found, train.model.name, model)
    ours = {name: (key, model.state_dict()[key]) for name, key in _public(model.state_dict()).items()}
    wanted = {name: tensor for name, (_, tensor) in ours.items()}
    drawn = _drawn_anew(found, wanted, model, train.data.classes)
    if problem := _differences(found, wanted, drawn):
        raise ConfigError(f"init: {path}: weights of another network: {problem}")
    taken = {ours[name][0]: tensor for name, tensor in found.items() if name not in drawn}
    if bad := [name for name, tensor in taken.items() if not is_finite(tensor)]:
        raise ConfigError(f"init: {path}: values that aren't finite, in {_listed(bad)}")
    model.load_state_dict({**model.state_dict(), **taken})
    Choice(model).begin()
    if drawn:
        there = found[drawn[0]].shape[0]
        notes = [f"{', '.join(drawn)} drawn anew: {there} classes there, {train.data.classes} here", *notes]
    return "; ".join([f"begins with {len(taken)} entries of {path}", *stripped, *notes])


def _state(path: Path) -> tuple[State, list[str]]:
    """Return the entries of a file by name, and what is left out of it."""
    if checkpoint.is_sealed(path):
        saved = checkpoint.read(path).model
        if any(name.endswith(f"{_WIRED}0.frozen") for name in saved):
            raise ConfigError(
                f"init: {path}: of wiring=edge_popup, which trains scores, not weights; name another"
            )
        return _without_wirings(saved), ["edges chosen anew"]
    try:
        if weights_file.is_safetensors(path):
            return _without_wirings(_of_safetensors(path)), []
        with warnings.catch_warnings():  # of another pickle's protocol torch asks to be told
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):  # which speak for pages
        raise ConfigError(
            f"init: {path}: damaged, or more than tensors, numbers and text; save model.state_dict() alone"
        ) from None
    return _held(path, values)


def _of_safetensors(path: Path) -> State:
    from safetensors import SafetensorError  # noqa: PLC0415  (images without it train all else)
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"init: {path}: damaged ({error}); copy it again") from None


def _held(path: Path, values: Any) -> tuple[State, list[str]]:
    """Return the entries of what torch.save wrote: all of it, or a part that training loops have."""
    if _is_state(values):
        return _without_wirings(values), []
    parts = values if isinstance(values, dict) else {}
    key = next((key for key in (*_HELD, *_AVERAGED) if _is_state(parts.get(key))), None)
    if key is None:
        holds = f"holds {_listed(map(str, parts))}" if parts else f"holds a {type(values).__name__}"
        raise ConfigError(f"init: {path}: no state_dict in it, it {holds}; save model.state_dict() alone")
    averaged = [other for other in _AVERAGED if other != key and other in parts]
    return _without_wirings(parts[key]), [f"the average in it ({other}) not taken" for other in averaged]


def _is_state(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and values != {}
        and all(isinstance(name, str) and isinstance(one, Tensor) for name, one in values.items())
    )


def _without_wirings(entries: Mapping[str, Tensor]) -> State:
    return {name: entries[key] for name, key in _public(entries).items()}


def _public(names: Iterable[str]) -> dict[str, str]:
    """Return the names that entries have without wirings, each with its own; of a wiring none."""
    found = {}
    for name in names:
        layer, wired, rest = name.rpartition(_WIRED)
        if not name.endswith(_COUNT) and rest in {"original", name}:
            found[f"{layer}weight" if wired else name] = name
    return found


def _fitted(found: State, network: str, model: nn.Module) -> tuple[State, list[str]]:
    """Return entries by the names that the network has, where they are wrapped or of an older version."""
    prefix, wanted = "", _first(_public(model.state_dict()))
    found = {name: tensor for name, tensor in found.items() if name != "n_averaged"}  # of an AveragedModel
    while (first := _first(found)) and first != wanted:
        prefix += first
        found = {name.removeprefix(first): tensor for name, tensor in found.items()}
    notes = [f"names taken without {prefix}"] if prefix else []
    if network.startswith("torchvision/densenet"):  # as torchvision itself takes its older files
        found = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", name): one for name, one in found.items()}
    for auxiliary in _AUXILIARY.get(network, ()):
        if any(name.startswith(auxiliary) for name in found):
            notes.append(f"{auxiliary}* left out, which this network is built without")
        found = {name: one for name, one in found.items() if not name.startswith(auxiliary)}
    return found, notes


def _first(names: Iterable[str]) -> str:
    """Return the first component that all names share, with its dot; "" if they share none."""
    firsts = {name.partition(".")[0] if "." in name else "" for name in names}
    return f"{firsts.pop()}." if len(firsts) == 1 and "" not in firsts else ""


def _drawn_anew(found: State, wanted: State, model: nn.Module, classes: int) -> list[str]:
    """Return the entries of a classifier, if nothing but its number of classes differs."""
    layers = {name for name, one in model.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)}
    differing = sorted(
        name for name in found.keys() & wanted.keys() if found[name].shape != wanted[name].shape
    )
    is_classifier = all(
        name.rpartition(".")[0] in layers
        and wanted[name].shape[:1] == (classes,)
        and found[name].ndim
        and found[name].shape[1:] == wanted[name].shape[1:]
        for name in differing
    )
    counts = {found[name].shape[:1] for name in differing}
    return differing[::-1] if is_classifier and len(counts) == 1 else []


def _differences(found: State, wanted: State, drawn: Iterable[str]) -> str:
    """Return what is missing, unexpected, or of another shape, on one line; "" if all fits."""
    other = [
        f"{name} {_shape(found[name])} there, {_shape(wanted[name])} here"
        for name in sorted(found.keys() & wanted.keys() - set(drawn))
        if _shape(found[name]) != _shape(wanted[name])
    ]
    kinds = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "differing": other,
    }
    return "; ".join(f"{kind} {_listed(names)}" for kind, names in kinds.items() if names)


def _shape(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}{'' if tensor.is_floating_point() else f' of {tensor.dtype}'}"


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"{', '.join(listed[:_SHOWN])}{more}"
