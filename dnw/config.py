"""The training configuration: frozen dataclasses, checked when they are built.

Hydra and OmegaConf stop here. `configs/` gives every value, this file gives every type and range, and
everything below travels as these objects. Nothing here imports torch: the login node checks with it.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dnw.invocation import RUN, SUBMIT
from dnw.ranges import (
    LARGEST,
    STRICT,
    Amount,
    Count,
    Deviation,
    Duration,
    Magnitude,
    Number,
    Positive,
    Share,
    Size,
    divisors,
)
from dnw.setting_errors import explain, known_keys
from shards.errors import ExpectedError, did_you_mean
from shards.regular_file import read_bytes

if TYPE_CHECKING:
    from shards.remote import Store

VERSION: Literal[1] = 1  # of config.yaml
Precision = Literal["fp32", "tf32", "bf16"]
T = TypeVar("T")
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # much faster, where PyYAML was built with it
MOST_STEPS = 10**8 - 1  # a checkpoint's name has eight digits
WIDEST_STATIC = 0.414  # the static network's legal edges among its 800 x 800 positions
GRAPHS = frozenset({"mobilenet", "static", "discrete", "continuous"})
RESNETS = frozenset({"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"})
NETWORKS = frozenset({*GRAPHS, "mobilenet_v1", *RESNETS})  # and any of:
LIBRARIES = ("torchvision/", "timm/")
FROM_A_RUN = frozenset({"fine_tune", "one_shot"})  # wirings that begin with what another run came to


class ConfigError(ExpectedError, ValueError):
    """A configuration that can't be run; the message names the setting and the remedy."""


def _named(value: Any) -> Any:
    if value in ("", None):  # of which Path would make the folder where one is
        raise ValueError("the name of a folder")
    if "://" in str(value):  # which Path would shorten to s3:/
        raise ValueError("a folder of this machine, not an address")
    return value


Folder = Annotated[Path, BeforeValidator(_named)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    """Which network: one of the paper's, or any of torchvision's and timm's (dnw/models/)."""

    name: str  # see NETWORKS; or torchvision/NAME, timm/NAME
    small: bool = False  # MobileNetV1-like only: wire the classifier too
    channels_last: bool = False  # memory format of a network that isn't a graph; graphs have their own


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wiring:
    """How edges are chosen."""

    name: Literal["dnw", "random", "complete", "no_update", "td", "reg_td", "fine_tune", "one_shot"]
    reference_quirks: bool = False  # do as the paper's code did where it is wrong, see docs/wiring.md
    rho: Share = 0.95  # td, reg_td: probability with which a candidate is dropped in a training step
    budget: Literal["layer", "global"] = "layer"  # sparsity of each weight, or of all together
    block: Annotated[int, Field(ge=1, le=64)] = 1  # neighbouring targets that share their sources
    leave_dense: tuple[str, ...] = ()  # layers that aren't wired, by their names, * for anything
    source: str = ""  # fine_tune, one_shot: a finished run with wiring=complete, its folder or its experiment
    source_signature: str = ""  # set when the run is frozen


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """Which images, and what is done to them."""

    name: str
    dir: Folder  # where the shards are: not part of what a run is, so not in its signature
    url: str = ""  # where they are if they aren't in `dir`, which then holds their indexes
    cache: str = ""  # where those are put that are read; "": a folder of the user's in /tmp or $TMPDIR
    cache_gb: Size = 50.0  # that they may take there
    image_size: Positive
    classes: Positive
    augment: Literal["none", "crop_flip", "resized_crop_flip"]
    mean: tuple[Number, Number, Number]
    std: tuple[Deviation, Deviation, Deviation]
    window: Count = 0  # shards shuffled together; 0: all of them
    workers: Count = 1  # decoding processes per rank
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.001  # share of images that may be unreadable
    train_fingerprint: str = ""  # set when the run is frozen
    val_fingerprint: str = ""

    def store(self) -> Store | None:
        """Where shards are fetched from, if they are fetched."""
        if not self.url:
            return None
        from shards.remote import Store  # noqa: PLC0415  (brings numpy, and --help needs none)

        # TMPDIR of a launched worker ends with its attempt
        common = Path(os.environ.get("DNW_TMPDIR") or gettempdir())
        cache = Path(self.cache).expanduser() if self.cache else common / f"dnw-shards-{os.getuid()}"
        return Store(self.url.rstrip("/"), cache, int(self.cache_gb * 1e9))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optim:
    """SGD with momentum, and the learning rate as a function of the step."""

    lr: Magnitude
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Amount
    nesterov: bool = False
    schedule: Literal["cosine", "multistep"]
    milestones: tuple[Number, ...] = ()  # epochs, multistep only
    gamma: Magnitude = 0.1
    warmup_epochs: Amount = 0.0
    decay_norms: bool = True  # whether norms and biases decay like other weights
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointSettings:
    """When to save, and what to keep."""

    every: Literal["auto"] | None = None  # auto: as often as pays, in place of the following two
    every_steps: Count = 0  # 0: by time alone
    every_minutes: Duration = 10.0  # 0: by steps alone
    keep: Positive = 2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Log:
    """What is written how often."""

    every_steps: Positive = 50
    digests: bool = False  # what each micro-batch held, into digests.jsonl


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Watchdog:
    """What is taken for a hang."""

    seconds: Duration = 600.0  # of a rank without progress; 0: never


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Train:
    """One run, whole. What isn't here doesn't change the result."""

    version: Literal[1] = VERSION
    exp: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    width: Share | None = None  # width multiplier of a graph of channels, or of MobileNetV1
    sparsity: Annotated[float, Field(ge=0, lt=1)] | None = None  # share of weights removed, any other network
    first_layer: Literal["sparse", "dense"] = "sparse"  # of any other network
    batch: Positive  # images in one optimizer step, over all processes
    micro_batch: Positive  # images in one forward: what BatchNorm sees
    epochs: Magnitude | None = None
    steps: Annotated[int, Field(gt=0, le=MOST_STEPS)] | None = None  # in place of epochs, where given
    precision: Precision = "fp32"  # of products and convolutions: dnw/hardware/precision.py
    reduce: Literal["fast", "exact"] = "fast"  # exact: same bits on any number of processes
    deterministic: bool = True
    threads: Positive = 1  # per process: another number sums in another order
    eval_every_epochs: Positive = 1
    eval_batch: Positive = 256
    model: Model
    wiring: Wiring
    data: Data
    optim: Optim
    checkpoint: CheckpointSettings
    log: Log
    watchdog: Watchdog = dataclasses.field(default_factory=Watchdog)


_REQUIRED = tuple(
    field.name
    for field in dataclasses.fields(Train)
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
)
ANEW = "the submit command with fresh=true moves the run aside, and begins it anew"


def parse(values: Mapping[str, Any]) -> Train:
    """Build the configuration from plain values, strictly.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a value of a wrong type or out of range,
            settings that exclude each other. All of them at once, a line each.
    """
    train = parse_as(Train, values)
    problems = list(_contradictions(train))
    if problems:
        raise ConfigError("\n".join(problems))
    return train


def parse_as(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build any configuration dataclass from plain values.

    Raises:
        ConfigError: as `parse` does.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        lines = explain(error.errors(include_url=False), known_keys(kind))
        raise ConfigError("\n".join(lines)) from None


def load(path: Path) -> Train:
    """Read a frozen configuration, as `dump` wrote it.

    Raises:
        ConfigError: it isn't there, or isn't valid for this version of the code.
    """
    values = read(path)
    if (version := values.get("version", VERSION)) != VERSION:
        kept = [code for name in ("code", "code.zip") if (code := path.parent / name).exists()]
        its_own = f"; use the code that the run keeps, {kept[0]}" if kept else ""
        raise ConfigError(f"{path}: has version {version!r}, this code reads version {VERSION}{its_own}")
    if lacking := [name for name in _REQUIRED if name not in values]:
        raise ConfigError(f"{path}: damaged, it lacks {', '.join(lacking)}; {ANEW}")
    try:
        return parse(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {'; '.join(str(error).splitlines())}") from None


def read(path: Path) -> dict[str, Any]:
    """Read the values of a frozen configuration, of whatever version of the code.

    Raises:
        ConfigError: it isn't there, or damaged.
    """
    try:
        text = read_bytes(path).decode()
    except FileNotFoundError:
        if (path.parent / "checkpoints").is_dir():
            raise ConfigError(f"{path}: gone from its run folder; {ANEW}") from None
        raise ConfigError(
            f"{path}: not there, so {path.parent} is no run folder; {_run_around(path)}"
        ) from None
    except NotADirectoryError:
        raise ConfigError(f"{path.parent}: a file; name the run folder, {path.parent.parent}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: damaged ({error.reason}); {ANEW}") from None
    try:
        values = yaml.load(text, Loader=_YAML)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: damaged ({str(error).splitlines()[0]}); {ANEW}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: {'holds no configuration' if text.strip() else 'empty'}; {ANEW}")
    return values


def _run_around(path: Path) -> str:
    """Return what to name instead: the run that a folder lies in."""
    for folder in path.absolute().parents[1:3]:
        if (folder / path.name).is_file() and (folder / "checkpoints").is_dir():
            return f"name that of the run, {folder}"
    return f"{SUBMIT} and {RUN} make one"


def plain(train: Train) -> dict[str, Any]:
    """Return the configuration as values that YAML and JSON know."""
    values: dict[str, Any] = TypeAdapter(Train).dump_python(train, mode="json")
    return values


def dump(train: Train) -> str:
    """Return the configuration as YAML."""
    return yaml.safe_dump(plain(train), sort_keys=False)


def _contradictions(train: Train) -> Iterable[str]:
    if train.batch % train.micro_batch:
        yield (
            f"micro_batch: {train.micro_batch} does not divide batch={train.batch}; "
            f"these do: {listed(divisors(train.batch))}"
        )
    if train.reduce == "exact" and not train.deterministic:
        yield "deterministic: reduce=exact promises equal bits, which need deterministic=true"
    if train.epochs is None and train.steps is None:
        yield "epochs: must be set, or steps in its place"
    if train.optim.schedule == "multistep" and not train.optim.milestones:
        yield "optim.milestones: must name the epochs at which a multistep schedule lowers the rate"
    optim = train.optim
    if optim.schedule == "multistep" and not _is_computable(optim):
        yield f"optim.gamma: {optim.gamma:g} at each of {len(optim.milestones)} milestones is beyond float32"
    yield from _of_the_network(train)
    is_from_run = train.wiring.name in FROM_A_RUN
    if is_from_run and not train.wiring.source:
        yield f"wiring.source: wiring={train.wiring.name} begins with a finished complete run; name it"
    if train.wiring.source and not is_from_run:
        yield f"wiring.source: only {' and '.join(sorted(FROM_A_RUN))} begin with another run"


def _is_computable(optim: Optim) -> bool:
    """Whether the rate after the last milestone is a number of float32."""
    magnitude = math.log10(optim.lr) + len(optim.milestones) * math.log10(optim.gamma)
    return magnitude <= math.log10(LARGEST)


def _of_the_network(train: Train) -> Iterable[str]:
    model = train.model
    if model.name not in NETWORKS and not model.name.startswith(LIBRARIES):
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
    if train.wiring.name == "complete" and train.wiring.block > 1:
        yield "wiring.block: wiring=complete takes every edge; choose another wiring"


def _of_a_graph(train: Train) -> Iterable[str]:
    if train.width is None:
        yield f"width: must be set, the width multiplier of model={train.model.name}"
    settings = {
        "sparsity": train.sparsity is not None,
        "first_layer": train.first_layer == "dense",
        "wiring.budget": train.wiring.budget == "global",
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
    """Values, separated by commas."""
    return ", ".join(map(str, values))
