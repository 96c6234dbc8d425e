"""What happens whatever anybody decides: demand and arrivals of orders.

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
from stockyard.envs.network.windows import Window

Floats = npt.NDArray[np.float64]


class DemandPath(NamedTuple):
    """Demand of one replica, and what its forecaster learns as time goes by."""

    demand: Floats  # (T, R, P) purchase intents, units
    signals: dict[str, Floats]  # whatever the forecaster reads; it says what it knows when
    event_days: Sequence[int] = ()  # days of the tape on which planned events begin


def start_day(streams: Streams) -> int:
    """Day of the year of period 0: that of a drawn week, so that no date tells the time left."""
    return 7 * int(streams.generator("calendar").integers(52))


class DemandProcess(Protocol):
    """Draws demand.

    Two attributes are optional and count as False where they are missing: `is_integer`, all demand
    is whole; `has_calendar`, demand depends on the day of the year, of which period 0 is day 0
    (elsewhere period 0 is `start_day`).
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


@dataclasses.dataclass(frozen=True, eq=False)
class LeadChange:
    """Multiplies the lead times of some suppliers while a window holds; the quotes say so."""

    window: Window
    factor: float
    affected: Floats  # (V,) 1 where the lead time changes

    def __post_init__(self) -> None:
        """Refuses a factor that is not positive."""
        if not self.factor > 0:
            raise ValueError(f"factor: must be > 0, got {self.factor}")


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
    lane_extra_days: Any = 0.0  # scalar or (E_in,), on top of both parts and of the quote
    fills_whole: Any = False  # scalar or (P,): sellers ship their own goods, all of them
    changes: Sequence[LeadChange] = ()

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
        for change in self.changes:
            day = np.floor(np.arange(epochs) * epoch_days)
            course = change.window.profile(day - change.window.key_day(streams))
            congestion *= 1.0 + course[:, None] * (change.factor - 1.0) * change.affected
        heads = network.inbound.head.tolist()
        extra = np.rint(np.broadcast_to(self.lane_extra_days, (len(heads),)) * h)
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
                first[:, e, p] = np.rint((np.rint(c * self.fixed_days) + wait) * h) + extra[e]
                gap = streams.generator("second_lead", *key).poisson(self.second_days, epochs)
                second[:, e, p] = first[:, e, p] + (1.0 + gap) * h
                quote = np.rint(c * (self.fixed_days + self.variable_days) * h)
                quoted[:, e, p] = quote + extra[e]
                uniform = streams.generator("fill", *key).random((epochs, 2))
                fill[:, e, p] = uniform[:, 0] ** (1.0 / self.fill_shape)
                split[:, e, p] = self.split_low + (1.0 - self.split_low) * uniform[:, 1]
        fill = np.where(np.asarray(self.fills_whole, dtype=np.bool_), 1.0, fill)
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
