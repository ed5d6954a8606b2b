"""Which optimizers torch and timm have, with their parameters, without importing them.

The login node looks names and options up here. Both are read from the installed sources, by their syntax:
importing torch takes seconds there, timm as long again.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dnw.config import ConfigError, Optim, listed
from shards.errors import did_you_mean
from shards.user_class.names import is_user_class

TIMM = "timm/"
# Optimizers that a training step can't do with, and why.
REFUSED = {
    "lbfgs": "computes the loss several times in a step, which takes one",
    "sparseadam": "takes sparse gradients, which no network here has; adam takes dense ones",
    "muon": "takes matrices alone; timm/muon takes all weights",
    f"{TIMM}adahessian": "needs second derivatives, which a step doesn't compute",
    **dict.fromkeys(
        [f"{TIMM}{name}" for name in ("kron", "kronc", "kronw")],
        "draws random numbers that no checkpoint holds",
    ),
}
_SETTINGS = frozenset({"self", "params", "lr", "weight_decay"})  # of a group of its own, not options
# ways to compute the same, which the trainer chooses; a maximum is never looked for
_TECHNICAL = frozenset({"foreach", "fused", "capturable", "differentiable", "maximize"})
_UNKNOWN = object()  # a default that is more than a value


class Known(NamedTuple):
    """An optimizer: the parameters of its class, each with the default that its name stands for."""

    parameters: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """What optim.options may name, with the library's defaults."""
        return {key: of for key, of in self.parameters.items() if key not in _SETTINGS | _TECHNICAL}


def check(optim: Optim) -> None:
    """Look up the name of an optimizer and those of its options.

    Raises:
        ConfigError: there is no such optimizer, it can't be used, or has no such option; or its library isn't
            installed.
    """
    if optim.name == "sgd" and not optim.options:
        return  # the usual one, for which nothing needs to be read
    if is_user_class(optim.name):
        return  # dnw/user_classes.py looks at it
    found = find(optim.name)
    if optim.weight_decay and "weight_decay" not in found.parameters:
        raise ConfigError(f"optim.weight_decay: {optim.name} has none; leave it out")
    problems = [
        f"optim.options.{key}: {problem}"
        for key, value in optim.options.items()
        if (problem := _problem(optim, key, value, found.options))
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def find(name: str) -> Known:
    """Return what is known of an optimizer, no class of the user's own.

    Raises:
        ConfigError: there is no such optimizer, it can't be used, or its library isn't installed.
    """
    known = optimizers("timm" if name.startswith(TIMM) else "torch")
    if name not in known:
        raise ConfigError(f"optim.name: no optimizer {name!r}{_nearest(name, known)}")
    if reason := REFUSED.get(name):
        raise ConfigError(f"optim.name: {name} {reason}; choose another optimizer")
    return known[name]


@cache
def optimizers(library: str) -> dict[str, Known]:
    """Every optimizer that `library`, torch or timm, has, by the name that optim.name gives it.

    Raises:
        ConfigError: it isn't installed.
    """
    folder = _folder(library)
    classes = dict(_classes(sorted(folder.glob("*.py"))))
    if library == "torch":
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        offered = {name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}
        offered -= {"Optimizer"}
        return {name.lower(): Known(_parameters(classes, name)) for name in sorted(offered & classes.keys())}
    classes |= {f"torch.optim.{name}": node for name, node in _classes(sorted(_folder("torch").glob("*.py")))}
    classes |= {
        name.rpartition(".")[2]: node for name, node in list(classes.items()) if "." in name
    } | classes
    tree = ast.parse((folder / "_optim_factory.py").read_text(encoding="utf-8"))
    found = {}
    for name, of, defaults in _registered(tree):
        if of in classes:  # else of a library that has to be there, too
            found[f"{TIMM}{name}"] = Known({**_parameters(classes, of), **defaults})
    return dict(sorted(found.items()))


def _folder(library: str) -> Path:
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        raise ConfigError(f"optim.name: {library} is not installed; python -m pip install {library}")
    return Path(spec.origin).parent / "optim"


def _classes(files: Iterable[Path]) -> Iterable[tuple[str, ast.ClassDef]]:
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node.name, node


def _registered(tree: ast.Module) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Yield the name, the class and the defaults of each optimizer that timm registers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "OptimInfo":
            given = {word.arg: word.value for word in node.keywords}
            if given.keys() >= {"name", "opt_class"}:  # else an example in its documentation
                defaults = _value(given["defaults"]) if "defaults" in given else {}
                yield _value(given["name"]), ast.unparse(given["opt_class"]), defaults


def _parameters(classes: Mapping[str, ast.ClassDef], name: str) -> dict[str, Any]:
    """Return what a class takes, with defaults; a class without `__init__` takes what its base takes."""
    node = classes[name]
    init = next(
        (one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None
    )
    if init is None:
        bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        return next((_parameters(classes, base) for base in bases if base in classes), {})
    arguments = init.args
    padding = [None] * (len(arguments.args) - len(arguments.defaults))
    defaults = [*padding, *arguments.defaults, *arguments.kw_defaults]
    names = [one.arg for one in (*arguments.args, *arguments.kwonlyargs)]
    return {
        key: _UNKNOWN if default is None else _value(default)
        for key, default in zip(names, defaults, strict=True)
    }


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _UNKNOWN


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    """Return what was meant, or what there is."""
    library = "" if name.startswith(TIMM) else TIMM
    if library and name.lower() not in known and f"{TIMM}{name.lower()}" in _timm():
        return f"; did you mean {TIMM}{name.lower()}?"
    usable = [one for one in known if one not in REFUSED]
    nearest = did_you_mean(name, usable) or (did_you_mean(TIMM + name, _timm()) if library else "")
    return nearest or f"; there are {listed(usable[:20])}" + (f", and {TIMM}NAME" if library else ", ...")


def _timm() -> dict[str, Known]:
    return optimizers("timm") if importlib.util.find_spec("timm") else {}


def _problem(optim: Optim, key: str, value: Any, options: Mapping[str, Any]) -> str:
    """Return what is wrong with an option; nothing if it can be tried."""
    if optim.name == "sgd" and key in {"momentum", "nesterov"}:
        return f"sgd's is set by optim.{key}"
    if key in {"lr", "weight_decay"}:
        return f"set by optim.{key}"
    if key not in options:
        there = [one for one in options if not (optim.name == "sgd" and one in {"momentum", "nesterov"})]
        nearest = did_you_mean(key, there) or f"; there are {listed(there)}"
        return f"{optim.name} has no such option{nearest}"
    return _misfit(key, value, options[key])


def _misfit(key: str, value: Any, default: Any) -> str:
    """Return what is wrong with a value, by the kind that the library's default has."""
    if isinstance(default, tuple):
        if not isinstance(value, tuple) or len(value) != len(default):
            return f"must be a list of {len(default)} numbers, as {list(default)} (got {value})"
        numbers = value
    elif isinstance(default, bool):
        return "" if isinstance(value, bool) else f"must be true or false (got {value})"
    elif isinstance(default, int | float) and value is not None:  # None turns some of them off
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number, as {default} (got {value})"
        numbers = (value,)
    else:
        return ""
    if key in {"betas", "alpha", "momentum"} and not all(0 <= one < 1 for one in numbers):
        return f"must be at least 0 and below 1 (got {list(numbers) if len(numbers) > 1 else value})"
    return ""
