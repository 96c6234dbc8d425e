"""What happens whatever anybody decides: demand, arrivals of orders, capacities.

A process draws the randomness of ONE replica from keyed streams, so that a replica's tape never
depends on its batch. Time stands first: (T, ...).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.streams import Streams
from stockyard.envs.network.topology import Network

Floats = npt.NDArray[np.float64]


class DemandPath(NamedTuple):
    """Demand of one replica, and what its forecaster learns as time goes by."""

    demand: Floats  # (T, R, P) purchase intents, units
    signals: dict[str, Floats]  # name -> (T, P); row t is known at the start of period t


class DemandProcess(Protocol):
    """Draws demand.

    Two attributes are optional and count as False where they are missing: `is_integer`, all demand
    is whole; `has_calendar`, demand depends on the day of the year, of which period 0 is day 0.
    """

    def draw(self, streams: Streams, network: Network, periods: int) -> DemandPath:
        """Draws one replica's demand for `periods` periods."""

    def mean_rate(self, network: Network) -> Floats:
        """Long-run mean demand, (R, P) units per period: the scale of observations."""


@dataclasses.dataclass(frozen=True)
class IidDemand:
    """Independent demand, one distribution per region, or one per region and product."""

    by_region: Sequence[Distribution | Sequence[Distribution]]

    @property
    def is_integer(self) -> bool:
        """Whether all demand is whole."""
        return all(d.is_integer for entry in self.by_region for d in _laws(entry))

    def law(self, region: int, product: int) -> Distribution:
        """The distribution of a product's demand in a region."""
        laws = _laws(self.by_region[region])
        return laws[0] if len(laws) == 1 else laws[product]

    def draw(self, streams: Streams, network: Network, periods: int) -> DemandPath:
        """Draws one replica's demand; streams are keyed by region and product."""
        demand = np.empty((periods, network.num_regions, network.num_products))
        for r, region in enumerate(network.regions):
            for p, product in enumerate(network.products.names):
                generator = streams.generator("demand", region, product)
                demand[:, r, p] = self.law(r, p).sample(generator, periods)
        return DemandPath(demand, {})

    def mean_rate(self, network: Network) -> Floats:
        """Mean demand, (R, P) units per period."""
        products = range(network.num_products)
        return np.array(
            [[self.law(r, p).mean for p in products] for r in range(network.num_regions)]
        )


def _laws(entry: Distribution | Sequence[Distribution]) -> Sequence[Distribution]:
    return entry if isinstance(entry, Sequence) else (entry,)


@dataclasses.dataclass(frozen=True, eq=False)
class MartingaleDemand:
    """Demand whose forecasts are martingales (MMFE; Heath & Jackson 1994).

    log mean demand = log baseline + drift + wave - half their variance. The drift is a random walk
    by day, the wave an AR(1) by week. Each innovation revises the forecast of every later date that
    it touches, and is revealed at the end of its day or week. Demand varies around its mean
    with Gamma (or, in whole units, negative binomial) noise.
    """

    baseline: Floats  # (T_max, P) known mean demand, units per period, all regions together
    shares: Floats  # (R,) share of each region
    drift_sd_per_year: float = 0.5
    wave_sd: float = 0.5
    wave_half_life_days: float = 21.0
    count_shape: float = 4.0  # Gamma shape of a region-day; its relative variance is 1 / shape
    whole_units: bool = False

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

    def draw(self, streams: Streams, network: Network, periods: int) -> DemandPath:
        """Draws one replica's demand.

        Signals: `drift` (T, P) is the random walk before day t; `wave` (T, P) the wave of the last
        complete week. Both exclude the innovation of day t and of its week, which day t's demand
        contains.
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
        wave = shocks * self.wave_sd
        for week in range(1, weeks + 1):
            fresh = np.sqrt(1.0 - self.wave_decay**2) * wave[week]
            wave[week] = self.wave_decay * wave[week - 1] + fresh
        day = np.arange(periods) // h
        known_drift = np.concatenate((np.zeros((1, len(names))), drift))[day]
        known_wave = wave[day // 7]
        variance = (day[:, None] + 1) * self.drift_sd**2 + self.wave_sd**2
        mean = self.baseline[:periods] * np.exp(drift[day] + wave[day // 7 + 1] - variance / 2.0)
        demand = mean[:, None, :] * self.shares[:, None] * (noise / self.count_shape)
        if self.whole_units:
            for p, product in enumerate(names):
                for r, region in enumerate(network.regions):
                    generator = streams.generator("count", product, region)
                    demand[:, r, p] = generator.poisson(demand[:, r, p])
        return DemandPath(demand, {"drift": known_drift, "wave": known_wave})

    def mean_rate(self, network: Network) -> Floats:
        """Mean baseline demand, (R, P) units per period."""
        return np.asarray(self.shares[:, None] * self.baseline.mean(axis=0))


@dataclasses.dataclass(frozen=True, eq=False)
class PanelDemand:
    """Replays a demand panel, bootstrapped in blocks of whole weeks of the tape's split."""

    panel: Any  # stockyard.envs.data.panel.DemandPanel with the network's products and regions

    @functools.cached_property
    def is_integer(self) -> bool:
        """Whether all demand is whole."""
        return bool((np.rint(self.panel.demand) == self.panel.demand).all())

    def draw(self, streams: Streams, network: Network, periods: int) -> DemandPath:
        """Draws one replica's demand; all products and regions share the drawn days."""
        days = self.panel.bootstrap_days(streams.generator("panel"), periods, streams.split)
        demand = np.transpose(self.panel.demand[days], (0, 2, 1)).astype(np.float64)
        return DemandPath(np.ascontiguousarray(demand), {})

    def mean_rate(self, network: Network) -> Floats:
        """Mean demand of the training weeks, (R, P) units per period."""
        days = self.panel.split_days("train")
        return np.asarray(self.panel.demand[days].mean(axis=0).T, dtype=np.float64)


class Arrivals(NamedTuple):
    """How orders of each review epoch arrive, for one replica."""

    quoted: Floats  # (epochs, E_in, P) periods, public when the order is placed
    lead: Floats  # (epochs, M, E_in, P) periods, whole
    fraction: Floats  # (epochs, M, E_in, P)


@dataclasses.dataclass(frozen=True)
class TwoPartArrivals:
    """Orders arrive in two parts, late, and not quite complete (Gen-QOT; Andaz et al. 2023).

    First part after c * fixed + Poisson(c * variable) days, second 1 + Poisson(second) days later;
    a share U(split_low, 1) comes first; the fill is 1 - Beta(1, fill_shape). The supplier's
    congestion c is a lognormal AR(1), and the quote c * (fixed + variable) is public.
    """

    fixed_days: float = 7.0
    variable_days: float = 6.0
    second_days: float = 4.0
    split_low: float = 0.5
    fill_shape: float = 9.0
    congestion_sd: float = 0.35
    congestion_half_life_days: float = 35.0
    longest_days: float = 75.0

    def draw(self, streams: Streams, network: Network, epochs: int, epoch_days: float) -> Arrivals:
        """Draws one replica's arrivals by review epoch; streams by node, product and supplier."""
        h = network.periods_per_day
        names = network.products.names
        shape = (epochs, len(network.inbound.head), len(names))
        quoted, fill, split = np.ones(shape), np.ones(shape), np.ones(shape)
        first, second = np.ones(shape), np.ones(shape)
        congestion = np.stack(
            [
                self._congestion(streams, supplier, epochs, epoch_days)
                for supplier in network.suppliers
            ],
            axis=1,
        )
        heads = network.inbound.head.tolist()
        for e, node in enumerate(heads):
            for p in np.flatnonzero(network.carries[e]).tolist():
                v = network.inbound.supplier[e, p]
                # A second lane of one supplier into a node has luck of its own.
                earlier = sum(
                    heads[k] == node and network.inbound.supplier[k, p] == v for k in range(e)
                )
                key = (network.nodes[node], names[p], network.suppliers[v], str(earlier))
                c = congestion[:, v]
                wait = streams.generator("lead", *key).poisson(c * self.variable_days)
                first[:, e, p] = np.rint((np.rint(c * self.fixed_days) + wait) * h)
                gap = streams.generator("second_lead", *key).poisson(self.second_days, epochs)
                second[:, e, p] = first[:, e, p] + (1.0 + gap) * h
                quoted[:, e, p] = np.rint(c * (self.fixed_days + self.variable_days) * h)
                uniform = streams.generator("fill", *key).random((epochs, 2))
                fill[:, e, p] = uniform[:, 0] ** (1.0 / self.fill_shape)
                split[:, e, p] = self.split_low + (1.0 - self.split_low) * uniform[:, 1]
        longest = np.rint(self.longest_days * h)
        lead = np.clip(np.stack((first, second), axis=1), 1.0, longest)
        fraction = np.stack((fill * split, fill * (1.0 - split)), axis=1)
        return Arrivals(np.clip(quoted, 1.0, longest), lead, fraction)

    def _congestion(
        self, streams: Streams, supplier: str, epochs: int, epoch_days: float
    ) -> Floats:
        decay = 0.5 ** (epoch_days / self.congestion_half_life_days)
        z = streams.generator("congestion", supplier).standard_normal(epochs)
        level = np.empty(epochs)
        level[0] = z[0]
        for k in range(1, epochs):
            level[k] = decay * level[k - 1] + np.sqrt(1.0 - decay**2) * z[k]
        return np.exp(self.congestion_sd * level - self.congestion_sd**2 / 2.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Capacities:
    """Limits of a world, constant or by period; None: unlimited. Announced ahead of time."""

    storage: Floats | None = None  # (N,) or (T, N) ft3 on the shelf and staged
    receiving: Floats | None = None  # (N,) or (T, N) ft3 per period
    outbound: Floats | None = None  # (N,) or (T, N) units per period
    supplier: Floats | None = None  # (V,) or (T, V) units per day
    yard: Floats | None = None  # (N,) or (T, N) ft3
    trucks: Floats | None = None  # (E_tr + E_out,) or (T, ...) trucks per period
    storage_rent: Floats | None = None  # (1,) or (T, 1) multiple of the base rent

    def __post_init__(self) -> None:
        """Refuses NaN and negative limits, naming the field."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not (np.asarray(value) >= 0).all():
                raise ValueError(f"capacities.{field.name}: must be >= 0 and not NaN")
