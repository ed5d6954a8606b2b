"""A run, whole."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dnw.config.augmentation import Augmentation
from dnw.config.data import Data
from dnw.config.model import Model
from dnw.config.optim import Optim
from dnw.config.steps import RecordedSteps
from dnw.config.trackers import Trackers
from dnw.config.weights import Weights
from dnw.config.wiring import Wiring
from dnw.ranges import STRICT, Count, Duration, Magnitude, Positive, Share

VERSION: Literal[1] = 1  # of config.yaml
MOST_STEPS = 10**8 - 1  # a checkpoint's name has eight digits
Precision = Literal["fp32", "tf32", "bf16"]


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
    # weights to begin with: a file; torchvision, timm: what these publish (dnw/pretrained/)
    init: Weights = ""
    init_fingerprint: str = ""  # SHA-256 of that file; set when the run is frozen
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
    profile: RecordedSteps = ""  # FIRST:LAST, steps that torch's profiler records on each rank
    track: Trackers = ("tensorboard",)  # who shows its curves: docs/tracking.md
    augment: Augmentation = dataclasses.field(default_factory=Augmentation)
    user_fingerprint: str = ""  # of the user's own classes; set when the run is frozen
    watchdog: Watchdog = dataclasses.field(default_factory=Watchdog)
