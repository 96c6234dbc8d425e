"""Forecasts: what the decision maker expects, from what has been revealed."""

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.envs.network.arrays import Array, namespace
from stockyard.envs.network.processes import MartingaleDemand

Floats = npt.NDArray[np.float64]

HORIZONS_DAYS = (7, 14, 28, 56, 91)
"""Horizons of the forecasts that environments show, in days."""

QUANTILES = (0.1, 0.5, 0.9)
"""Quantiles of demand over each horizon that environments show."""


class Forecaster(Protocol):
    """Forecasts national demand by product."""

    def cumulative_mean(
        self, period: int, signals: dict[str, Array], horizons: tuple[int, ...]
    ) -> list[Array]:
        """Expected demand from `period` over each horizon (in periods, ascending).

        Args:
            period: first period of the window.
            signals: name -> (..., P), what is known at its start.
            horizons: lengths in periods, ascending.

        Returns:
            One array (..., P) of units per horizon.
        """

    def rolling_mean(self, signals: dict[str, Floats], periods: int, horizon: int) -> Floats:
        """Expected demand over `horizon` periods from each of `periods` periods, (T, P).

        Args:
            signals: name -> (T, P), row t as known at the start of period t.
            periods: T.
            horizon: length of every window, in periods.
        """

    def quantile_factors(self, horizons: tuple[int, ...], levels: tuple[float, ...]) -> Floats:
        """Quantile over mean, (H, Q, P): multiply the cumulative mean with it."""


@dataclasses.dataclass(frozen=True, eq=False)
class MartingaleForecaster:
    """The exact conditional mean of `MartingaleDemand`; quantiles of a lognormal around it."""

    demand: MartingaleDemand
    periods_per_day: int = 1

    def __post_init__(self) -> None:
        """Sums the baseline once, so that any window costs two look-ups."""
        cumulative = np.concatenate(
            (np.zeros((1, self.demand.baseline.shape[1])), np.cumsum(self.demand.baseline, axis=0))
        )
        object.__setattr__(self, "_cumulative", cumulative)
        object.__setattr__(self, "_windows", {})

    def cumulative_mean(
        self, period: int, signals: dict[str, Array], horizons: tuple[int, ...]
    ) -> list[Array]:
        """Expected demand over each horizon; see `Forecaster`.

        With drift d and wave w known, day t of a week i weeks ahead has the mean
        baseline * exp(d - days * drift_sd^2 / 2 + a w - (a wave_sd)^2 / 2), a = decay^(i + 1).
        """
        drift, wave = signals["drift"], signals["wave"]
        xp = namespace(drift)
        process = self.demand
        day = period // self.periods_per_day
        level = xp.exp(drift - day * process.drift_sd**2 / 2.0)
        running: Array | None = None
        means: list[Array] = []
        for ahead, (whole, ending) in enumerate(self._weeks(period, horizons, drift)):
            a = process.wave_decay ** (ahead + 1)
            factor = xp.exp(a * wave - (a * process.wave_sd) ** 2 / 2.0)
            for part in ending:
                term = part * factor
                means.append(term if running is None else running + term)
            if whole is not None:
                term = whole * factor
                running = term if running is None else running + term
        return [level * mean for mean in means]

    def rolling_mean(self, signals: dict[str, Floats], periods: int, horizon: int) -> Floats:
        """Expected demand over a window from each period, (T, P); see `Forecaster`."""
        process, sums = self.demand, self._cumulative  # type: ignore[attr-defined]
        week = 7 * self.periods_per_day
        start = np.arange(periods)
        stop = np.minimum(start + horizon, len(sums) - 1)
        day = start // self.periods_per_day
        level = np.exp(signals["drift"] - day[:, None] * process.drift_sd**2 / 2.0)
        total = np.zeros_like(level)
        for ahead in range(horizon // week + 2):
            turn = (start // week + ahead) * week
            first = np.clip(turn, start, stop)
            last = np.clip(turn + week, start, stop)
            a = process.wave_decay ** (ahead + 1)
            factor = np.exp(a * signals["wave"] - (a * process.wave_sd) ** 2 / 2.0)
            total += (sums[last] - sums[first]) * factor
        return np.asarray(level * total)

    def _weeks(
        self, period: int, horizons: tuple[int, ...], like: Array
    ) -> list[tuple[Array | None, list[Array]]]:
        """Per calendar week: its baseline sum (P,), and the parts up to horizons ending in it."""
        key = (period, horizons, namespace(like).__name__, str(like.dtype))
        windows: dict[object, list[tuple[Array | None, list[Array]]]] = self._windows  # type: ignore[attr-defined]
        if key in windows:
            return windows[key]
        sums: Floats = self._cumulative  # type: ignore[attr-defined]
        xp = namespace(like)

        def between(start: int, stop: int) -> Array:
            last = len(sums) - 1
            values = sums[min(stop, last)] - sums[min(start, last)]
            return xp.asarray(values, dtype=like.dtype, device=like.device)

        week = 7 * self.periods_per_day
        weeks: list[tuple[Array | None, list[Array]]] = []
        start, ends = period, [period + horizon for horizon in horizons]
        while start < ends[-1]:
            stop = (start // week + 1) * week
            ending = [between(start, end) for end in ends if start < end <= stop]
            weeks.append((between(start, stop) if stop < ends[-1] else None, ending))
            start = stop
        windows[key] = weeks
        return weeks

    def quantile_factors(self, horizons: tuple[int, ...], levels: tuple[float, ...]) -> Floats:
        """Quantile over mean, (H, Q, P).

        The log variance matches the variance of the sum over the horizon under a flat baseline,
        with the covariance of drift and wave, plus count noise.
        """
        process = self.demand
        products = process.baseline.shape[1]
        factors = np.empty((len(horizons), len(levels), products))
        count = float((process.shares**2).sum()) / process.count_shape
        for k, horizon in enumerate(horizons):
            days = -(-horizon // self.periods_per_day)
            j = np.arange(days)
            drift = (np.minimum(j[:, None], j) + 1) * process.drift_sd**2
            week = j // 7 + 1
            gap = np.abs(week[:, None] - week)
            total = week[:, None] + week
            wave = process.wave_sd**2 * (process.wave_decay**gap - process.wave_decay**total)
            relative = np.expm1(drift + wave).mean() + count / horizon
            if process.whole_units:
                rate = np.maximum(process.baseline.mean(axis=0), 1e-9)
                variance = np.log1p(relative + 1.0 / (rate * horizon))
            else:
                variance = np.full(products, np.log1p(relative))
            for q, level in enumerate(levels):
                factors[k, q] = np.exp(ndtri(level) * np.sqrt(variance) - variance / 2.0)
        return factors


@dataclasses.dataclass(frozen=True, eq=False)
class FittedForecaster:
    """Fitted to training weeks, the same whatever happens later; not a martingale."""

    mean: Floats  # (P,) units per period
    sums: dict[int, Floats]  # horizon in periods -> (samples, P) demand over it in training

    def cumulative_mean(
        self, period: int, signals: dict[str, Array], horizons: tuple[int, ...]
    ) -> list[Array]:
        """Expected demand over each horizon, (P,); the same at any time."""
        return [self.mean[None, :] * float(horizon) for horizon in horizons]

    def rolling_mean(self, signals: dict[str, Floats], periods: int, horizon: int) -> Floats:
        """Expected demand over a window, (T, P); every row alike."""
        return np.broadcast_to(self.mean * horizon, (periods, len(self.mean)))

    def quantile_factors(self, horizons: tuple[int, ...], levels: tuple[float, ...]) -> Floats:
        """Quantile of the training sums over their mean, (H, Q, P)."""
        known = np.array(sorted(self.sums))
        factors = np.empty((len(horizons), len(levels), len(self.mean)))
        for k, horizon in enumerate(horizons):
            nearest = int(known[np.argmin(np.abs(known - horizon))])
            mean = np.maximum(self.mean * nearest, 1e-9)
            factors[k] = np.quantile(self.sums[nearest], levels, axis=0) / mean
        return factors
