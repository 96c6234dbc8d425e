"""Demand distributions of the textbook problems."""

import dataclasses
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Distribution(Protocol):
    """Demand of one period, independent over periods."""

    @property
    def mean(self) -> float:
        """Mean, units per period."""

    @property
    def sd(self) -> float:
        """Standard deviation, units."""

    @property
    def is_integer(self) -> bool:
        """Whether all values are whole numbers."""

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units, in time order."""


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _positive(name: str, value: float, *, zero: bool = False) -> None:
    number = _is_number(value) and math.isfinite(value)
    if not (number and (value > 0 or (zero and value == 0))):
        raise ValueError(f"{name}: must be finite and {'>= 0' if zero else '> 0'}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Poisson:
    """Poisson demand."""

    mean: float
    is_integer = True

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _positive("mean", self.mean)

    @property
    def sd(self) -> float:
        """Standard deviation, units."""
        return math.sqrt(self.mean)

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units."""
        return generator.poisson(self.mean, periods).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Geometric:
    """Geometric demand on {0, 1, ...}: P(d) = (1 - q) q^d with q = mean / (1 + mean)."""

    mean: float
    is_integer = True

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _positive("mean", self.mean)

    @property
    def sd(self) -> float:
        """Standard deviation, units."""
        return math.sqrt(self.mean * (1.0 + self.mean))

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units."""
        return generator.geometric(1.0 / (1.0 + self.mean), periods).astype(np.float64) - 1.0


@dataclasses.dataclass(frozen=True)
class NegativeBinomial:
    """Negative binomial demand, by mean and variance > mean."""

    mean: float
    variance: float
    is_integer = True

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _positive("mean", self.mean)
        _positive("variance", self.variance)
        if not self.variance > self.mean:
            raise ValueError(f"variance: must exceed the mean {self.mean}, got {self.variance!r}")

    @property
    def sd(self) -> float:
        """Standard deviation, units."""
        return math.sqrt(self.variance)

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units."""
        p = self.mean / self.variance
        n = self.mean * p / (1.0 - p)
        return generator.negative_binomial(n, p, periods).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Normal:
    """Normal demand, not clipped: negative demand is a return, as the closed forms assume."""

    mean: float
    sd: float
    is_integer = False

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _positive("mean", self.mean)
        _positive("sd", self.sd, zero=True)

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units."""
        return self.mean + self.sd * generator.standard_normal(periods)


@dataclasses.dataclass(frozen=True)
class Gamma:
    """Gamma demand, by mean and standard deviation."""

    mean: float
    sd: float
    is_integer = False

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _positive("mean", self.mean)
        _positive("sd", self.sd)

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units."""
        shape = (self.mean / self.sd) ** 2
        return generator.standard_gamma(shape, periods) * (self.mean / shape)


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Uniform demand on the integers low, ..., high."""

    low: int
    high: int
    is_integer = True

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _positive("low", self.low, zero=True)
        _positive("high", self.high, zero=True)
        if int(self.low) != self.low or int(self.high) != self.high:
            raise ValueError(f"low, high: must be whole, got {self.low!r}, {self.high!r}")
        if not self.low <= self.high:
            raise ValueError(f"low, high: must be low <= high, got {self.low}, {self.high}")

    @property
    def mean(self) -> float:
        """Mean, units per period."""
        return (self.low + self.high) / 2.0

    @property
    def sd(self) -> float:
        """Standard deviation, units."""
        return math.sqrt(((self.high - self.low + 1) ** 2 - 1) / 12.0)

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units."""
        return generator.integers(self.low, self.high, periods, endpoint=True).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Pmf:
    """Demand d with probability p[d], d = 0, 1, ...; the probabilities sum to 1."""

    p: Sequence[float]
    is_integer = True

    def __post_init__(self) -> None:
        """Checks the parameters and freezes them."""
        try:
            p = tuple(float(x) for x in self.p)
        except (TypeError, ValueError):
            raise ValueError(f"p: must be a sequence of numbers, got {self.p!r}") from None
        if not p or any(not x >= 0 for x in p) or abs(math.fsum(p) - 1.0) > 1e-9:
            raise ValueError(f"p: must be >= 0 and sum to 1, got {self.p!r}")
        object.__setattr__(self, "p", p)

    @property
    def mean(self) -> float:
        """Mean, units per period."""
        return math.fsum(d * x for d, x in enumerate(self.p))

    @property
    def sd(self) -> float:
        """Standard deviation, units."""
        return math.sqrt(math.fsum((d - self.mean) ** 2 * x for d, x in enumerate(self.p)))

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Draws (periods,) units, by inversion."""
        last = len(self.p) - 1
        upto = np.cumsum(self.p)
        drawn = np.searchsorted(upto, generator.random(periods), side="right")
        return np.minimum(drawn, last).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Deterministic:
    """A known sequence of demands, repeated from its start when it ends."""

    values: Sequence[float]

    def __post_init__(self) -> None:
        """Checks the parameters and freezes them."""
        try:
            given = np.atleast_1d(np.asarray(self.values, dtype=np.float64))
        except (TypeError, ValueError):
            raise ValueError(f"values: must be numbers, got {self.values!r}") from None
        if given.ndim != 1 or not len(given) or not (np.isfinite(given) & (given >= 0)).all():
            raise ValueError(f"values: must be finite numbers >= 0, got {self.values!r}")
        object.__setattr__(self, "values", tuple(given.tolist()))

    @property
    def is_integer(self) -> bool:
        """Whether all values are whole numbers."""
        return all(float(v).is_integer() for v in self.values)

    @property
    def mean(self) -> float:
        """Mean, units per period."""
        return math.fsum(self.values) / len(self.values)

    @property
    def sd(self) -> float:
        """Standard deviation over the sequence, units."""
        return float(np.std(self.values))

    def sample(self, generator: np.random.Generator, periods: int) -> Floats:
        """Returns the first `periods` values of the repeated sequence; nothing is drawn."""
        return np.resize(np.asarray(self.values, dtype=np.float64), periods)


DISTRIBUTIONS: dict[str, Any] = {
    "poisson": Poisson,
    "geometric": Geometric,
    "negative_binomial": NegativeBinomial,
    "normal": Normal,
    "gamma": Gamma,
    "uniform": Uniform,
    "pmf": Pmf,
    "deterministic": Deterministic,
}


def parameters_of(name: str) -> tuple[str, ...]:
    """What a distribution of this name takes; nothing if there is none."""
    kind = DISTRIBUTIONS.get(name)
    return () if kind is None else tuple(field.name for field in dataclasses.fields(kind))


def named(name: str, **parameters: Any) -> Distribution:
    """Builds a distribution by name, as configuration files give it.

    What other distributions take is left aside: a file has the values of its own distribution, and
    who chooses another one need not take them back.

    Raises:
        ValueError: if the name is unknown, a parameter is missing, or no distribution takes it.
    """
    if name not in DISTRIBUTIONS:
        raise ValueError(f"demand: unknown {name!r}; known: {', '.join(DISTRIBUTIONS)}")
    kind = DISTRIBUTIONS[name]
    known = parameters_of(name)
    every = dict.fromkeys(key for law in DISTRIBUTIONS for key in parameters_of(law))
    unknown = [key for key in parameters if key not in every]
    if unknown:
        takes = ", ".join(f"demand_{key}" for key in every)
        raise ValueError(f"demand: no distribution takes demand_{unknown[0]}; known: {takes}")
    given = {key: value for key, value in parameters.items() if value is not None}
    if not set(known) <= set(given):
        wanted = ", ".join(f"demand_{field}" for field in known)
        got = ", ".join(f"demand_{key}" for key in given) or "none"
        raise ValueError(f"demand: {name!r} takes {wanted}; got {got}")
    try:
        built: Distribution = kind(**{key: given[key] for key in known})
    except ValueError as error:
        raise ValueError(f"demand_{error}") from None
    return built
