"""Demand as the rules need it: forecasts over a cover, quantiles and probabilities of sums."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtr, ndtri

from stockyard.envs.network.distributions import (
    Distribution,
    Gamma,
    Geometric,
    NegativeBinomial,
    Normal,
    Pmf,
    Poisson,
    Uniform,
)
from stockyard.envs.network.forecast import HORIZONS_DAYS

Floats = npt.NDArray[np.float64]

LARGEST_DEVIATION = 1.5
"""Cap on a forecast's log deviation s: a median of a third of the mean, exp(-s^2 / 2).

The P90 of a lognormal with mean m is m * exp(1.28 s - s^2 / 2): 2.27 m at most, at s = 1.28, and
2.2 m at the cap. Beyond, the same mean comes ever more rarely in ever larger lumps, and every level
up to P90 goes to zero: a rule would stop ordering what is hardest to forecast.
"""


def forecast_over(
    observation: Mapping[str, npt.NDArray[Any]], days: Floats
) -> tuple[Floats, Floats]:
    """Forecast over `days` (B, P) from now: mean (B, P) units, and its log standard deviation.

    Means and log deviations are interpolated linearly between the horizons shown; the deviation is
    that of the lognormal through the shown P50 and P90, at most `LARGEST_DEVIATION`. A product that
    more often than not sells nothing (P50 = 0) has the largest.
    """
    mean = np.asarray(observation["forecast_mean"], dtype=np.float64)
    quantiles = np.asarray(observation["forecast_quantiles"], dtype=np.float64)
    sells = quantiles[..., 1] > 1e-9
    middle = np.where(sells, quantiles[..., 1], 1.0)
    deviation = np.log(np.maximum(quantiles[..., 2], middle) / middle) / ndtri(0.9)
    deviation = np.where(sells, np.minimum(deviation, LARGEST_DEVIATION), LARGEST_DEVIATION)
    horizons = np.array((0.0, *HORIZONS_DAYS))
    mean = np.concatenate((np.zeros_like(mean[..., :1]), mean), axis=-1)
    deviation = np.concatenate((deviation[..., :1], deviation), axis=-1)
    k = np.clip(np.searchsorted(horizons, days, side="right") - 1, 0, len(horizons) - 2)
    part = (days - horizons[k]) / (horizons[k + 1] - horizons[k])

    def between(values: Floats) -> Floats:
        low = np.take_along_axis(values, k[..., None], -1)[..., 0]
        high = np.take_along_axis(values, k[..., None] + 1, -1)[..., 0]
        return np.asarray(low + part * (high - low))

    return between(mean), between(deviation)


def expected_left(stock: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Expected stock after a lognormal demand, E max(x - D, 0), in closed form.

    The put of Black & Scholes (Journal of Political Economy 81, 1973); the strike is the stock.

    Args:
        stock: x, units >= 0.
        mean: of demand, units.
        deviation: of the logarithm of demand.
    """
    stock, mean = np.maximum(stock, 1e-9), np.maximum(mean, 1e-9)
    deviation = np.maximum(deviation, 1e-6)
    above = np.log(stock / mean) / deviation + deviation / 2.0
    return np.asarray(stock * ndtr(above) - mean * ndtr(above - deviation))


def demand_quantile(demand: Distribution, periods: int, level: float) -> float:
    """Quantile of the demand of several periods: closed forms, convolution, or the normal limit.

    Args:
        demand: of one period, independent.
        periods: how many add up.
        level: between 0 and 1.

    Returns:
        Units; for demand on integers the smallest whole number that reaches the level.
    """
    n = periods
    if isinstance(demand, Poisson):
        return float(stats.poisson.ppf(level, n * demand.mean))
    if isinstance(demand, Geometric):
        return float(stats.nbinom.ppf(level, n, 1.0 / (1.0 + demand.mean)))
    if isinstance(demand, NegativeBinomial):
        p = demand.mean / demand.variance
        return float(stats.nbinom.ppf(level, n * demand.mean * p / (1.0 - p), p))
    if isinstance(demand, Gamma):
        shape = (demand.mean / demand.sd) ** 2
        return float(stats.gamma.ppf(level, n * shape, scale=demand.mean / shape))
    if isinstance(demand, Uniform | Pmf):
        largest = demand.high if isinstance(demand, Uniform) else len(demand.p) - 1
        one = demand_probabilities(demand, int(largest) + 1)
        total = np.ones(1)
        for _ in range(n):
            total = np.convolve(total, one)
        return float(np.searchsorted(np.cumsum(total), level - 1e-12))
    if isinstance(demand, Normal) or demand.sd > 0:
        return float(n * demand.mean + ndtri(level) * demand.sd * np.sqrt(n))
    return n * demand.mean


def demand_probabilities(demand: Distribution, size: int) -> Floats:
    """Probabilities of the demands 0, 1, ..., size - 1 of one period.

    Args:
        demand: independent over periods.
        size: how many.

    Raises:
        ValueError: if the demand is not on the integers, or is a known sequence.
    """
    units = np.arange(size)
    if isinstance(demand, Poisson):
        return np.asarray(stats.poisson.pmf(units, demand.mean))
    if isinstance(demand, Geometric):
        return np.asarray(stats.geom.pmf(units + 1, 1.0 / (1.0 + demand.mean)))
    if isinstance(demand, NegativeBinomial):
        p = demand.mean / demand.variance
        return np.asarray(stats.nbinom.pmf(units, demand.mean * p / (1.0 - p), p))
    if isinstance(demand, Uniform):
        inside = (units >= demand.low) & (units <= demand.high)
        return inside / (demand.high - demand.low + 1.0)
    if isinstance(demand, Pmf):
        given = np.asarray(demand.p)[:size]
        return np.concatenate((given, np.zeros(size - len(given))))
    raise ValueError(f"demand: needs probabilities of whole units, which {demand!r} has not")
