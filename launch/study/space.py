"""What a study chooses from: Hydra's `interval`, `range`, `choice` and `tag(log, ...)`, as plain values."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep

from dnw.config import ConfigError
from launch.config import is_launch_key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float
Params = Mapping[str, Value]
DIGITS = 6  # significant, of a number that is chosen: it names a folder, and is typed again
MOST_LISTED = 100_000  # combinations that are listed to find one that is left


@dataclass(frozen=True)
class Numbers:
    """From `low` to `high`, both included: whole ones, those of a step, or any."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def count(self) -> float:
        """How many there are."""
        step = self.step or (1 if self.whole else None)
        return math.inf if step is None else round((self.high - self.low) / step) + 1

    @property
    def first(self) -> Value:
        """The first one."""
        return self.fit(self.low)

    def values(self) -> list[Value]:
        """All of them, where they can be counted."""
        return [self.fit(self.low + number * (self.step or 1)) for number in range(int(self.count))]

    def fit(self, value: float) -> Value:
        """Return a number as it is typed: of the nearest step, or of few digits; and within the bounds."""
        if self.whole:
            return int(value)
        if self.step is not None:
            number = round((value - self.low) / self.step)
            return _stepped(self.low, min(max(number, 0), int(self.count) - 1), self.step)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def text(self, value: Value) -> str:
        """Return the value as it is typed."""
        return str(value)

    def distribution(self) -> BaseDistribution:
        """Return the same in Optuna's terms."""
        from optuna.distributions import FloatDistribution, IntDistribution  # noqa: PLC0415  (slow to import)

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def __str__(self) -> str:
        kinds = ["whole numbers"] if self.whole else []
        kinds += [f"in steps of {self.step:g}"] if self.step else []
        kinds += ["by their logarithm"] if self.log else []
        return f"{self.low:g} to {self.high:g}" + (f" ({', '.join(kinds)})" if kinds else "")


@dataclass(frozen=True)
class Choice:
    """One of some values, as they are typed."""

    choices: tuple[str, ...]

    @property
    def count(self) -> float:
        """How many there are."""
        return len(self.choices)

    @property
    def first(self) -> Value:
        """The first one."""
        return self.choices[0]

    def values(self) -> list[Value]:
        """All of them."""
        return list(self.choices)

    def fit(self, value: Value) -> Value:
        """Return the value."""
        return value

    def text(self, value: Value) -> str:
        """Return the value as it is typed."""
        return str(value)

    def distribution(self) -> BaseDistribution:
        """Return the same in Optuna's terms."""
        from optuna.distributions import CategoricalDistribution  # noqa: PLC0415  (slow to import)

        return CategoricalDistribution(self.choices)

    def __str__(self) -> str:
        return " or ".join(self.choices)


Space = Mapping[str, Numbers | Choice]


def read(words: Sequence[str]) -> dict[str, Numbers | Choice]:
    """Return what the settings among words may be, by their names.

    Args:
        words: settings as typed; those of one value count for nothing here.

    Raises:
        ConfigError: values that can't be chosen from, or a setting that changes no result.
    """
    found: dict[str, Numbers | Choice] = {}
    for word in words:
        override = OverridesParser.create().parse_override(word)
        if override.is_sweep_override():
            key = override.key_or_group
            if key == "exp" or is_launch_key(key):
                raise ConfigError(
                    f"{word}: a study chooses settings of the training; name one value of {key}"
                )
            found[override.get_key_element()] = _values(override, word)
    return found


def as_json(space: Space) -> dict[str, Any]:
    """Return it as it is kept with the study."""
    return {key: dataclasses.asdict(values) for key, values in space.items()}


def untried(space: Space, tried: Sequence[Params], generator: random.Random) -> Params | None:
    """Return a combination that hasn't been tried; None if there is none left, or too many to tell.

    Args:
        space: what to choose from.
        tried: what has been.
        generator: chooses.
    """
    if math.prod(values.count for values in space.values()) > MOST_LISTED:
        return None
    known = {tuple(params.get(key) for key in space) for params in tried}
    left = [one for one in _combinations(space) if one not in known]
    return dict(zip(space, generator.choice(left), strict=True)) if left else None


def _combinations(space: Space) -> Iterator[tuple[Value, ...]]:
    return itertools.product(*(values.values() for values in space.values()))


def _values(override: Override, word: str) -> Numbers | Choice:
    sweep = override.value()
    if isinstance(sweep, Glob):
        raise ConfigError(f"{word}: name the values, choice(a,b)")
    tags = set(getattr(sweep, "tags", ()))
    if tags - {"log"} or (tags and not isinstance(sweep, IntervalSweep)):
        raise ConfigError(f"{word}: the only tag is log, of an interval: tag(log,interval(0.001,1))")
    if getattr(sweep, "shuffle", False):
        raise ConfigError(f"{word}: an adaptive sweep has no order to shuffle; leave out shuffle()")
    if isinstance(sweep, IntervalSweep):
        return _interval(sweep, word)
    if isinstance(sweep, RangeSweep):
        listed = list(sweep.range())
        if not listed:
            raise ConfigError(f"{word}: no value to choose from")
        if all(isinstance(one, int) for one in listed):
            return Numbers(min(listed), max(listed), step=abs(sweep.step), whole=True)
        assert sweep.start is not None
        ends = float(sweep.start), _stepped(sweep.start, len(listed) - 1, sweep.step)
        return Numbers(min(ends), max(ends), step=abs(sweep.step))
    return Choice(tuple(dict.fromkeys(map(str, override.sweep_string_iterator()))))


def _interval(sweep: IntervalSweep, word: str) -> Numbers:
    low, high, is_log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if not low < high:
        raise ConfigError(f"{word}: the first of the two must be the smaller one")
    if is_log and low <= 0:
        raise ConfigError(f"{word}: the logarithm needs numbers above 0")
    return Numbers(low, high, log=is_log, whole=isinstance(low, int) and isinstance(high, int))


def _stepped(start: float, number: int, step: float) -> float:
    """Return start + number * step, without the digits that binary fractions add to it."""
    return float(Decimal(str(start)) + number * Decimal(str(step)))
