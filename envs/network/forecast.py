"""Forecasts: what the decision maker expects, from what has been revealed."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.envs.network.arrays import Array, as_like, namespace, stack
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.processes import DemandPath

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HORIZONS_DAYS = (7, 14, 28, 56, 91)
"""Horizons of the forecasts that environments show, in days."""

QUANTILES = (0.1, 0.5, 0.9)
"""Quantiles of demand over each horizon that environments show."""


class Expected(NamedTuple):
    """A forecast made at several times."""

    units: Floats  # (K, H, P) expected over each horizon; K is 1 where it is always the same
    extra: Floats | None  # (K, H, P) log variance on top of the usual; None: none


class Forecaster(Protocol):
    """Forecasts the demand of one replica; what it says of a time rests on what is known then."""

    def expected(self, path: DemandPath, periods: Ints, horizons: Sequence[int]) -> Expected:
        """Expected national demand from each of `periods` (K,) on over each horizon (in periods).

        Args:
            path: the replica's demand, of which only what is known may be read.
            periods: (K,) first periods.
            horizons: lengths in periods, ascending.
        """

    def next_week(self, path: DemandPath, periods: Ints) -> Floats:
        """Expected demand by region over the week from each of `periods`, (K or 1, R, P) a day."""

    def quantiles(self, mean: Array, horizons: tuple[int, ...], extra: Array | None) -> Array:
        """Quantiles of demand over the horizons around its mean.

        Args:
            mean: (B, H, P) units.
            horizons: lengths in periods.
            extra: (B, H, P) log variance on top of the usual; None: none.

        Returns:
            (B, H, Q, P) units, Q of `QUANTILES`.
        """

    def week_quantiles(self, mean: Array) -> Array:
        """Quantiles (B, Q, R, P) of a week's demand by region around its mean (B, R, P)."""


@dataclasses.dataclass(frozen=True, eq=False)
class MartingaleForecaster:
    """The exact conditional mean of `MartingaleDemand`; quantiles of a lognormal around it."""

    demand: MartingaleDemand
    periods_per_day: int = 1

    def expected(self, path: DemandPath, periods: Ints, horizons: Sequence[int]) -> Expected:
        """See `Forecaster`."""
        return Expected(
            *self.demand.expected(path.signals, periods, horizons, self.periods_per_day)
        )

    def next_week(self, path: DemandPath, periods: Ints) -> Floats:
        """See `Forecaster`."""
        return self.demand.expected_week(path.signals, periods, self.periods_per_day)

    def quantiles(self, mean: Array, horizons: tuple[int, ...], extra: Array | None) -> Array:
        """See `Forecaster`; the log deviation is that of `log_variance`."""
        variance = as_like(self.log_variance(horizons)[None], mean)
        return _lognormal(mean, variance if extra is None else variance + extra, 2)

    def week_quantiles(self, mean: Array) -> Array:
        """See `Forecaster`."""
        return _lognormal(mean, as_like(self._week_variance[None], mean), 1)

    @functools.cached_property
    def _week_variance(self) -> Floats:
        """(R, P) log variance of a week's demand in each region."""
        process, week = self.demand, 7 * self.periods_per_day
        national = np.expm1(self._mean_variance(week))
        count = 1.0 / process.count_shape / week
        relative = national + count + np.expm1(self._regional_variance(7)) * (1.0 + national)
        rate = process.shares[:, None] * process.baseline.mean(axis=0)
        poisson = 1.0 / np.maximum(rate * week, 1e-9) if process.whole_units else 0.0
        return np.asarray(np.log1p(relative + poisson) * np.ones_like(rate))

    def _regional_variance(self, days: int) -> float:
        """Log variance of a region's factor, mean over the days ahead; their covariance counts."""
        process = self.demand
        if not process.regional_sd:
            return 0.0
        j = np.arange(days) + 1.0
        gap, total = np.abs(j[:, None] - j), j[:, None] + j
        decay = process.regional_decay
        covariance = process.regional_sd**2 * (decay**gap - decay**total)
        return float(np.log1p(np.expm1(covariance).mean()))

    def _mean_variance(self, horizon: int) -> float:
        """Log variance of the mean's sum over a horizon under a flat baseline."""
        process = self.demand
        days = -(-horizon // self.periods_per_day)
        j = np.arange(days)
        drift = (np.minimum(j[:, None], j) + 1) * process.drift_sd**2
        week = j // 7 + 1
        gap = np.abs(week[:, None] - week)
        total = week[:, None] + week
        wave = process.wave_sd**2 * (process.wave_decay**gap - process.wave_decay**total)
        return float(np.log1p(np.expm1(drift + wave).mean()))

    @functools.lru_cache(maxsize=8)  # noqa: B019 - few forecasters, small entries
    def log_variance(self, horizons: tuple[int, ...]) -> Floats:
        """Log variance of demand over each horizon, (H, P).

        It matches the variance of the sum over the horizon under a flat baseline, with the
        covariance of drift and waves, plus count noise; shocks and launches come on top.
        """
        process = self.demand
        products = process.baseline.shape[1]
        variances = np.empty((len(horizons), products))
        together = float((process.shares**2).sum())
        count = together / process.count_shape
        for k, horizon in enumerate(horizons):
            days = -(-horizon // self.periods_per_day)
            relative = np.expm1(self._mean_variance(horizon)) + count / horizon
            relative += together * np.expm1(self._regional_variance(days))
            if process.whole_units:
                rate = np.maximum(process.baseline.mean(axis=0), 1e-9)
                variances[k] = np.log1p(relative + 1.0 / (rate * horizon))
            else:
                variances[k] = np.log1p(relative)
        return variances


def _lognormal(mean: Array, variance: Array, axis: int) -> Array:
    """`QUANTILES` of a lognormal with these means and log variances, along a new axis."""
    xp = namespace(mean)
    deviation = variance**0.5
    return stack(
        [mean * xp.exp(float(ndtri(q)) * deviation - variance / 2.0) for q in QUANTILES], axis=axis
    )


@dataclasses.dataclass(frozen=True, eq=False)
class FittedForecaster:
    """Fitted to training weeks, the same whatever happens later; not a martingale."""

    mean: Floats  # (R, P) units per period
    sums: dict[int, Floats]  # horizon in periods -> (samples, P) demand over it in training
    weeks: Floats  # (samples, R, P) demand of a week in training
    periods_per_day: int = 1

    def expected(self, path: DemandPath, periods: Ints, horizons: Sequence[int]) -> Expected:
        """See `Forecaster`; the same at any time."""
        national = self.mean.sum(axis=0)
        return Expected(np.asarray(horizons, dtype=np.float64)[None, :, None] * national, None)

    def next_week(self, path: DemandPath, periods: Ints) -> Floats:
        """See `Forecaster`; the same at any time."""
        return np.asarray(self.mean[None] * self.periods_per_day)

    def quantiles(self, mean: Array, horizons: tuple[int, ...], extra: Array | None) -> Array:
        """See `Forecaster`; ratios of the training sums' quantiles to the mean."""
        factors = as_like(self.factors(horizons)[None], mean)
        return mean[:, :, None] * factors

    def week_quantiles(self, mean: Array) -> Array:
        """See `Forecaster`."""
        expected = np.maximum(self.mean * 7.0 * self.periods_per_day, 1e-9)
        factors = np.quantile(self.weeks, QUANTILES, axis=0) / expected
        return mean[:, None] * as_like(factors[None], mean)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - few forecasters, small entries
    def factors(self, horizons: tuple[int, ...]) -> Floats:
        """Quantile of the training sums over their mean, (H, Q, P)."""
        known = np.array(sorted(self.sums))
        national = self.mean.sum(axis=0)
        factors = np.empty((len(horizons), len(QUANTILES), len(national)))
        for k, horizon in enumerate(horizons):
            nearest = int(known[np.argmin(np.abs(known - horizon))])
            mean = np.maximum(national * nearest, 1e-9)
            factors[k] = np.quantile(self.sums[nearest], QUANTILES, axis=0) / mean
        return factors
