"""What all replenishment heuristics share: the environment's facts and the batch axis."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtri

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
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.world import World
from stockyard.envs.tasks.task import shaped

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """One number that a heuristic tunes."""

    name: str
    low: float  # where the search begins; it widens when the best lies on an edge
    high: float
    integer: bool = False
    least: float = -np.inf  # no search goes beyond these
    most: float = np.inf


class Facts:
    """What a rule may know of an environment beside its observation: costs, lead times, demand."""

    def __init__(self, env: Any) -> None:
        """Reads the world of a built environment, single or vector, wrapped or not.

        Raises:
            ValueError: if the environment has no replenishment slot in mode `quantity`.
        """
        base = env.unwrapped
        if "replenish" not in getattr(getattr(base, "task", None), "slots", ()):
            raise ValueError("replenishment heuristics need an environment with that slot")
        self.world: World = base.world
        self.specification: dict[str, Any] = dict(base.specification)
        network = self.world.network
        self.field_shapes: dict[str, tuple[int, ...]] = base.field_shapes
        self.review_days = self.world.periods_per_step / network.periods_per_day
        rate = self.world.source.demand.mean_rate(network).sum(axis=0)
        self.mean_per_review: Floats = np.asarray(rate * self.world.periods_per_step)
        # as the action space says, which is float32
        self.largest_order: Floats = self.world.max_order.astype(np.float32).astype(np.float64)

    @property
    def has_forecast(self) -> bool:
        """Whether the observation shows forecasts; textbook problems have none."""
        return self.world.forecaster is not None

    @property
    def lead_time(self) -> int:
        """Longest fixed lead time, in periods."""
        return int(self.world.network.inbound.lead_time.max())

    def demand(self) -> Distribution:
        """The demand distribution of a textbook problem.

        Raises:
            ValueError: if demand is not independent over periods, in one region.
        """
        process = self.world.source.demand
        network = self.world.network
        is_one = network.num_regions == network.num_products == 1
        if not isinstance(process, IidDemand) or not is_one:
            raise ValueError(
                "this rule needs independent demand for one product in one region, or a forecast"
            )
        return process.law(0, 0)


class Heuristic(abc.ABC):
    """A policy in mode `quantity`: orders in units, one per product, on its first lane."""

    action_mode = "quantity"

    def __init__(self, facts: Facts) -> None:
        """Remembers the shapes of the observation's fields."""
        self._shapes = facts.field_shapes

    def predict(
        self,
        observation: Mapping[str, npt.NDArray[Any]],
        state: Any = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[npt.NDArray[Any], Any]:
        """Decides; see `stockyard.agents.policy.Policy`. Takes a single observation too."""
        is_single = observation["inventory_position"].ndim == 1
        if is_single:
            observation = {name: np.asarray(values)[None] for name, values in observation.items()}
            episode_start = None if episode_start is None else np.atleast_1d(episode_start)
        orders, state = self.orders(shaped(observation, self._shapes), state, episode_start)
        return orders[0] if is_single else orders, state

    @abc.abstractmethod
    def orders(
        self,
        observation: Mapping[str, npt.NDArray[Any]],
        state: Any,
        episode_start: npt.NDArray[np.bool_] | None,
    ) -> tuple[npt.NDArray[Any], Any]:
        """Orders (B, P) in units, and the next state; the observation is in its shapes."""


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
        if isinstance(demand, Uniform):
            one = np.zeros(demand.high + 1)
            one[demand.low :] = 1.0 / (demand.high - demand.low + 1)
        else:
            one = np.asarray(demand.p)
        total = np.ones(1)
        for _ in range(n):
            total = np.convolve(total, one)
        return float(np.searchsorted(np.cumsum(total), level - 1e-12))
    if isinstance(demand, Normal) or demand.sd > 0:
        return float(n * demand.mean + ndtri(level) * demand.sd * np.sqrt(n))
    return n * demand.mean
