"""Demand whose forecasts are exact martingales: drift, waves, seasons, events, shocks, launches.

Every random factor is independent of the others, and is revealed bit by bit at stated times, so
that the conditional mean of demand at the start of a day is a product of known terms.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.processes import DemandPath, start_day
from stockyard.envs.network.shocks import DemandShock, Launches, Promotions, Season
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.topology import Network

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CHUNK = 2_000_000
"""Entries of the largest intermediate array of a forecast."""

PROMOTION_WEEKS = 4
"""Weeks ahead for which sellers have planned their promotions."""


@dataclasses.dataclass(frozen=True, eq=False)
class MartingaleDemand:
    """Demand whose forecasts are martingales (MMFE; Heath & Jackson 1994).

    log mean demand = log baseline + drift + wave + regional wave - half their variance. The drift
    is a random walk by day, the wave an AR(1) by week, the regional wave an AR(1) by day for each
    product and region. Each innovation revises the forecast of every later date that it touches,
    and is revealed at the end of its day or week. Season, launches and shocks multiply the mean.
    Demand varies around its mean with Gamma (or, in whole units, negative binomial) noise.

    Shocks that overlap add up what they change. Where their sum would be negative it is clipped at
    0, of what happens as of what is expected, and there forecasts are no exact martingales.
    """

    baseline: Floats  # (T_max, P) known mean demand, units per period, all regions together
    shares: Floats  # (R,) share of each region
    drift_sd_per_year: float = 0.5
    wave_sd: float = 0.5
    wave_half_life_days: float = 21.0
    regional_sd: float = 0.0
    regional_half_life_days: float = 10.0
    count_shape: float = 4.0  # Gamma shape of a region-day; its relative variance is 1 / shape
    whole_units: bool = False
    season: Season | None = None
    shocks: Sequence[DemandShock] = ()
    launches: Launches | None = None
    promotions: Promotions | None = None  # known to sellers alone

    @property
    def is_integer(self) -> bool:
        """Whether all demand is whole."""
        return self.whole_units

    @property
    def num_periods(self) -> int:
        """Periods for which there is a baseline."""
        return len(self.baseline)

    @property
    def drift_sd(self) -> float:
        """Standard deviation of a day's drift innovation (log scale)."""
        return float(self.drift_sd_per_year / np.sqrt(365.0))

    @property
    def wave_decay(self) -> float:
        """What is left of a wave after a week."""
        return float(0.5 ** (7.0 / self.wave_half_life_days))

    @property
    def regional_decay(self) -> float:
        """What is left of a regional wave after a day."""
        return float(0.5 ** (1.0 / self.regional_half_life_days))

    def draw(self, streams: Streams, network: Network, periods: int) -> DemandPath:
        """Draws one replica's demand.

        Signals, of which row t is known at the start of day t: `drift` (days, P), the random walk
        before day t; `wave` (days, P), that of the last complete week; `regional` (days, R, P), the
        regional wave of the day before. They exclude the innovations of day t and of its week,
        which day t's demand contains. `start_day` () is the day of the year of day 0; shocks and
        launches add their own (`ShockPath`, `LaunchPath`). `promotion` (weeks, P) is what sellers
        know of.
        """
        h = network.periods_per_day
        days = -(-periods // h)
        weeks = -(-days // 7)
        names = network.products.names
        steps = np.empty((days, len(names)))
        shocks = np.empty((weeks + 1, len(names)))
        noise = np.empty((periods, network.num_regions, len(names)))
        for p, product in enumerate(names):
            steps[:, p] = streams.generator("drift", product).standard_normal(days)
            shocks[:, p] = streams.generator("wave", product).standard_normal(weeks + 1)
            for r, region in enumerate(network.regions):
                generator = streams.generator("noise", product, region)
                noise[:, r, p] = generator.standard_gamma(self.count_shape, periods)
        drift = np.cumsum(steps * self.drift_sd, axis=0)
        wave = _autoregressive(shocks, self.wave_decay) * self.wave_sd
        day = np.arange(periods) // h
        signals: dict[str, Any] = {
            "drift": np.concatenate((np.zeros((1, len(names))), drift))[:days],
            "wave": wave[np.arange(days) // 7],
            "start_day": np.asarray(start_day(streams)),
        }
        variance = (day[:, None] + 1) * self.drift_sd**2 + self.wave_sd**2
        mean = self._known_mean(day, np.arange(periods), signals)
        mean = mean * np.exp(drift[day] + wave[day // 7 + 1] - variance / 2.0)
        mean = mean * self._sudden(streams, days, day, names, signals)
        by_region = mean[:, None, :] * self.shares[:, None]
        if self.regional_sd:
            local = np.empty((days + 1, network.num_regions, len(names)))
            for p, product in enumerate(names):
                for r, region in enumerate(network.regions):
                    generator = streams.generator("regional", product, region)
                    local[:, r, p] = generator.standard_normal(days + 1)
            local = _autoregressive(local, self.regional_decay) * self.regional_sd
            signals["regional"] = local[:-1]
            by_region = by_region * np.exp(local[day + 1] - self.regional_sd**2 / 2.0)
        demand = by_region * (noise / self.count_shape)
        if self.whole_units:
            for p, product in enumerate(names):
                for r, region in enumerate(network.regions):
                    generator = streams.generator("count", product, region)
                    demand[:, r, p] = generator.poisson(demand[:, r, p])
        events = [
            signals[f"shock-{k}"].key_day + shock.window.offset_days
            for k, shock in enumerate(self.shocks)
            if shock.is_event
        ]
        return DemandPath(demand, signals, sorted(events))

    def _sudden(
        self, streams: Streams, days: int, day: Ints, names: Sequence[str], signals: dict[str, Any]
    ) -> Floats:
        """What launches and shocks multiply the mean of each period with; adds their signals."""
        factor = np.ones((len(day), len(names)))
        for k, shock in enumerate(self.shocks):
            path = shock.draw(streams, days, names)
            signals[f"shock-{k}"] = path
            course = shock.window.profile(day - path.key_day)[:, None]
            factor = factor + course * (path.factor - 1.0) * shock.affected
        factor = np.maximum(factor, 0.0)
        if self.launches is not None:
            launch = signals["launch"] = self.launches.draw(streams, days, names)
            factor = factor * launch.factor * (day[:, None] >= launch.begin)
        if self.promotions is not None:
            weeks = -(-days // 7) + PROMOTION_WEEKS
            promoted = signals["promotion"] = self.promotions.draw(streams, weeks, names)
            factor = factor * promoted[day // 7]
        return factor

    def _known_mean(self, day: Ints, period: Ints, signals: dict[str, Any]) -> Floats:
        """Baseline and season at periods of any shape (...), (..., P); the last stands beyond."""
        mean = self.baseline[np.minimum(period, len(self.baseline) - 1)]
        if self.season is not None:
            of_year = (int(signals["start_day"]) + day) % 365
            mean = mean * self.season.factors()[of_year][..., None]
        return np.asarray(mean)

    def expected(
        self, signals: dict[str, Any], periods: Ints, horizons: Sequence[int], h: int
    ) -> tuple[Floats, Floats | None]:
        """What is expected from each of `periods` on, over each horizon.

        Args:
            signals: of `draw`.
            periods: (K,) first periods.
            horizons: lengths in periods, ascending.
            h: periods per day.

        Returns:
            Units (K, H, P), and the log variance that shocks and launches add to their sum, of the
            same shape; None where there are none.
        """
        size = max(1, CHUNK // (max(horizons) * self.baseline.shape[1]))
        parts = [
            self._chunk(signals, periods[k : k + size], horizons, h)
            for k in range(0, len(periods), size)
        ]
        units = np.concatenate([part[0] for part in parts])
        if parts[0][1] is None:
            return units, None
        return units, np.concatenate([part[1] for part in parts if part[1] is not None])

    def _chunk(
        self, signals: dict[str, Any], periods: Ints, horizons: Sequence[int], h: int
    ) -> tuple[Floats, Floats | None]:
        ends = np.asarray(horizons) - 1

        def over(values: Floats) -> Floats:
            return np.asarray(np.cumsum(values, axis=1)[:, ends])

        mean, shocked = self.daily(signals, periods, max(horizons), h)
        units = over(mean)
        if not self.shocks and self.launches is None:
            return units, None
        day = periods // h
        extra = np.zeros_like(units)
        some = np.maximum(units, 1e-12)
        for k, course in shocked.items():
            left = signals[f"shock-{k}"].left[day]
            if left.any():
                weight = over(course) / some
                extra += np.log1p(np.expm1(left)[:, None, None] * weight**2)
        if self.launches is not None:
            extra += signals["launch"].left[day][:, None, :]
        return units, extra

    def expected_week(self, signals: dict[str, Any], periods: Ints, h: int) -> Floats:
        """What is expected by region over the week from each of `periods` on, (K, R, P) a day."""
        regions, products = len(self.shares), self.baseline.shape[1]
        week = np.empty((len(periods), regions, products))
        split = bool(self.regional_sd)
        size = max(1, CHUNK // (7 * h * products * (regions if split else 1)))
        for k in range(0, len(periods), size):
            part = periods[k : k + size]
            mean, _ = self.daily(signals, part, 7 * h, h, by_region=split)
            # a running total adds in one order whatever stands beside a product; `sum` does not
            total = np.cumsum(mean, axis=1)[:, -1] / 7.0
            week[k : k + size] = total if split else total[:, None] * self.shares[:, None]
        return week

    def daily(
        self, signals: dict[str, Any], periods: Ints, ahead: int, h: int, by_region: bool = False
    ) -> tuple[Floats, dict[int, Floats]]:
        """Expected demand of each of the next `ahead` periods.

        With drift d, wave w and regional wave u known, a day i weeks and k days ahead has the mean
        baseline * exp(d - days * drift_sd^2 / 2 + a w - (a wave_sd)^2 / 2 + ...), where a =
        decay^(i + 1), and likewise for u with decay^(k + 1).

        Args:
            signals: of `draw`.
            periods: (K,) first periods.
            ahead: how many.
            h: periods per day.
            by_region: split the first result by region, where regions have waves of their own.

        Returns:
            Units (K, ahead, P), or (K, ahead, R, P); and of each uncertain shock the part of it
            that its window contributes, (K, ahead, P), by index.
        """
        period = periods[:, None] + np.arange(ahead)
        day, now = period // h, periods // h
        level = np.exp(signals["drift"][now] - now[:, None] * self.drift_sd**2 / 2.0)
        week = day // 7 - now[:, None] // 7
        power = self.wave_decay ** (np.arange(int(week.max()) + 1) + 1.0)[:, None]
        wave = signals["wave"][now][:, None]
        by_week = np.exp(power * wave - (power * self.wave_sd) ** 2 / 2.0)  # (K, weeks, P)
        mean = self._known_mean(day, period, signals)
        mean = mean * level[:, None] * by_week[np.arange(len(periods))[:, None], week]
        if self.launches is not None:
            launch = signals["launch"]
            mean = mean * launch.known[now][:, None] * (day[..., None] >= launch.begin)
        factor, courses = None, {}
        for k, shock in enumerate(self.shocks):
            path = signals[f"shock-{k}"]
            # days are counted whole: within a day all of its periods are expected alike
            course = shock.window.expected(now, np.arange(ahead // h + 2), path.key_day)
            course = np.take_along_axis(course, day - now[:, None], axis=1)[..., None]
            known = path.known[now][:, None]
            part = course * (known - 1.0) * shock.affected
            factor = 1.0 + part if factor is None else factor + part
            if shock.log_variance:
                courses[k] = mean * course * known * shock.affected
        if factor is not None:
            mean = mean * np.maximum(factor, 0.0)
        if not self.regional_sd:
            return mean, courses
        gap = (day - now[:, None])[..., None, None].astype(np.float32)
        decay = np.float32(self.regional_decay) ** (gap + np.float32(1.0))
        local = signals["regional"][now][:, None].astype(np.float32)  # exp is the time of it all
        spread = np.exp(decay * local - np.float32(self.regional_sd**2 / 2.0) * decay**2)
        if by_region:
            return mean[:, :, None] * (self.shares[:, None] * spread), courses
        together = sum(share * spread[:, :, r] for r, share in enumerate(self.shares))
        return mean * together, courses

    def mean_rate(self, network: Network) -> Floats:
        """Mean baseline demand, (R, P) units per period."""
        return np.asarray(self.shares[:, None] * self.baseline.mean(axis=0))


def _autoregressive(innovations: Floats, decay: float) -> Floats:
    """An AR(1) of variance 1 from standard normal innovations along the first axis."""
    path = innovations.copy()
    fresh = np.sqrt(1.0 - decay**2)
    for t in range(1, len(path)):
        path[t] = decay * path[t - 1] + fresh * innovations[t]
    return path
