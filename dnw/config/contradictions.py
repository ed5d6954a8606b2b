"""Settings that exclude each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from fractions import Fraction

from dnw.config.augmentation_limits import of_the_augmentation
from dnw.config.model import GRAPHS, LIBRARIES, NETWORKS, RESNETS, is_known
from dnw.config.optimization import of_the_optimizer
from dnw.config.steps import recorded_steps
from dnw.config.train import Train
from dnw.config.wiring import FROM_A_RUN, NOT_WITH, OF_SINGLE_EDGES, REMEDIES, USED_BY, Wiring
from dnw.ranges import divisors
from shards.errors import did_you_mean
from shards.user_class.names import is_user_class

WIDEST_STATIC = 0.414  # the static network's legal edges among its 800 x 800 positions


def contradictions(train: Train) -> Iterable[str]:
    """Yield a line for each combination of settings that can't be trained."""
    if train.batch % train.micro_batch:
        yield (
            f"micro_batch: {train.micro_batch} does not divide batch={train.batch}; "
            f"these do: {listed(divisors(train.batch))}"
        )
    if train.reduce == "exact" and not train.deterministic:
        yield "deterministic: reduce=exact promises equal bits, which need deterministic=true"
    if train.epochs is None and train.steps is None:
        yield "epochs: must be set, or steps in its place"
    if train.profile and train.steps is not None and recorded_steps(train.profile).start > train.steps:
        yield f"profile: {train.profile} lies behind the last step, {train.steps}"
    yield from of_the_optimizer(train.optim)
    yield from of_the_augmentation(train)
    yield from _of_the_network(train)
    named = (
        ("wiring", "wiring.options", train.wiring.name, train.wiring.options),
        ("model", "model.options", train.model.name, train.model.options),
        ("data.augment", "data.augment_options", train.data.augment, train.data.augment_options),
    )
    for word, key, name, options in named:
        if options and not is_user_class(name):
            yield f"{key}: only for a class of your own, {word}=PACKAGE.MODULE.CLASS"
    is_from_run = train.wiring.name in FROM_A_RUN
    if is_from_run and not train.wiring.source:
        yield f"wiring.source: wiring={train.wiring.name} begins with a finished complete run; name it"
    if train.wiring.source and not is_from_run:
        yield f"wiring.source: only {' and '.join(sorted(FROM_A_RUN))} begin with another run"
    yield from _of_the_beginning(train)
    yield from _of_the_wiring(train.wiring)
    yield from _of_n_m(train)


def _of_the_beginning(train: Train) -> Iterable[str]:
    """Refuse weights that have no place, or that no library publishes."""
    init, model = train.init, train.model.name
    if init and train.wiring.name in FROM_A_RUN:
        yield f"init: wiring={train.wiring.name} begins with the weights of wiring.source; leave one out"
    if f"{init}/" in LIBRARIES and not model.startswith(f"{init}/"):
        name = model if model in RESNETS else model.partition("/")[2] or "NAME"
        yield f"init: {init} has weights for model={init}/{name} (got model={model}); init=FILE takes others"


def _of_the_wiring(wiring: Wiring) -> Iterable[str]:
    name = wiring.name
    for field in dataclasses.fields(Wiring):
        users = USED_BY.get(field.name, {name})
        if name not in users and getattr(wiring, field.name) != field.default:
            yield f"wiring.{field.name}: wiring={name} has no use for it; {listed(sorted(users))} do"
    if wiring.block > 1 and name in NOT_WITH["block"]:
        why = "takes every edge" if name == "complete" else "places single edges, not blocks"
        yield f"wiring.block: wiring={name} {why}; choose another wiring"
    if name == "n_m" and wiring.budget != "layer":
        yield "wiring.budget: wiring=n_m has the same share in each layer; take layer"
    elif wiring.budget == "global" and name in NOT_WITH["global"]:
        yield f"wiring.budget: wiring={name} has a budget for each layer; take layer or erk"
    if wiring.reference_quirks and name in NOT_WITH["reference_quirks"]:
        yield f"wiring.reference_quirks: the paper's code has no wiring={name}; leave it false"
    yield from _of_the_remedies(wiring)
    if wiring.start > wiring.until:
        yield f"wiring.start: {wiring.start:g} lies behind wiring.until={wiring.until:g}"


def _of_the_remedies(wiring: Wiring) -> Iterable[str]:
    """Refuse what the paper's dnw has not, beside settings that it can't go with."""
    defaults = {field.name: field.default for field in dataclasses.fields(Wiring)}
    for name in REMEDIES:
        if wiring.name != "dnw" or getattr(wiring, name) == defaults[name]:
            continue
        if wiring.budget == "global":
            yield f"wiring.{name}: needs a budget for each layer; take wiring.budget=layer or erk"
        if wiring.reference_quirks:
            yield f"wiring.{name}: the paper's code has no such setting; take wiring.reference_quirks=false"
        if wiring.block > 1 and name in OF_SINGLE_EDGES:
            yield f"wiring.{name}: is about single edges, not blocks; take wiring.block=1"


def _of_n_m(train: Train) -> Iterable[str]:
    """Refuse a width or a sparsity of which n of m aren't the budget."""
    wiring, model = train.wiring, train.model.name
    if wiring.name != "n_m":
        return
    share = Fraction(wiring.n, wiring.m)
    if share >= 1:
        yield f"wiring.n: {wiring.n} of {wiring.m} removes nothing; take n below m"
    elif model in {"mobilenet", "mobilenet_v1"}:
        yield (
            f"wiring.name: n_m isn't for model={model}: at no width are {wiring.n} of {wiring.m} its budget; "
            "take model=static, discrete or continuous, or a network with sparsity="
        )
    elif model in GRAPHS:
        width = float(share * Fraction(str(WIDEST_STATIC if model == "static" else 1)))
        if train.width != width:
            yield f"width: wiring=n_m keeps {wiring.n} of {wiring.m} of the legal edges; type width={width}"
    elif train.sparsity is not None and train.sparsity != float(1 - share):
        yield f"sparsity: wiring=n_m keeps {wiring.n} of {wiring.m}; type sparsity={float(1 - share)}"


def _of_the_network(train: Train) -> Iterable[str]:
    model = train.model
    if not is_known(model.name):
        known = [*sorted(NETWORKS), *(f"{library}NAME" for library in LIBRARIES)]
        nearest = did_you_mean(model.name, known)
        yield f"model.name: no network {model.name!r}{nearest}; there are {listed(known)}"
        return
    if model.small and model.name != "mobilenet":
        yield f"model.small: only model=mobilenet has a small variant (got model={model.name})"
    if _too_wide(train):
        yield f"width: at most {WIDEST_STATIC} of all edges of model=static are legal (got {train.width})"
    if model.name in GRAPHS:
        yield from _of_a_graph(train)
    elif model.name != "mobilenet_v1" and train.width is not None:
        yield f"width: model={model.name} has none; set sparsity, the share of its weights that is removed"
    elif model.name == "mobilenet_v1" and train.width is None:
        yield "width: must be set, the width multiplier of MobileNetV1"
    if model.name not in GRAPHS and train.wiring.name != "complete" and train.sparsity is None:
        yield f"sparsity: must be set, the share of the weights of model={model.name} that is removed"
    if train.wiring.name == "complete" and train.sparsity:
        yield f"sparsity: wiring=complete removes nothing (got {train.sparsity}); choose another wiring"


def _of_a_graph(train: Train) -> Iterable[str]:
    if train.width is None:
        yield f"width: must be set, the width multiplier of model={train.model.name}"
    settings = {
        "sparsity": train.sparsity is not None,
        "first_layer": train.first_layer == "dense",
        "wiring.budget": train.wiring.budget != "layer",
        "wiring.leave_dense": bool(train.wiring.leave_dense),
        "model.channels_last": train.model.channels_last,
    }
    for name in (name for name, is_set in settings.items() if is_set):
        yield f"{name}: not for model={train.model.name}, whose number of edges is set by width"


def _too_wide(train: Train) -> bool:
    chooses_legal = train.wiring.name == "random" or not train.wiring.reference_quirks
    is_static = train.model.name == "static" and train.wiring.name != "complete"
    return is_static and chooses_legal and train.width is not None and train.width > WIDEST_STATIC


def listed(values: Iterable[object]) -> str:
    """Return values, separated by commas."""
    return ", ".join(map(str, values))
