"""Rules that look through the pipeline of a retail world: what will be left when an order arrives.

The forecast's counterpart of `lost_sales`. There the distribution of what is left is exact; here
its mean is followed from week to week: each week's receipts as quoted, at the expected fill, and of
what is there the part that a lognormal demand leaves. What was short is lost, not owed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import Facts, Floats, Observation, Starts
from stockyard.agents.heuristics.capacity_priced import EXPECTED_FILL
from stockyard.agents.heuristics.demand import expected_left, forecast_over
from stockyard.agents.heuristics.margins import Margins
from stockyard.agents.heuristics.stocking_points import OrderingRule
from stockyard.envs.network.forecast import HORIZONS_DAYS

LONGEST = float(HORIZONS_DAYS[-1])

BALANCED_WEEKS = 8
"""Weeks after arrival for which the holding cost of an order is counted [A]."""

HALVINGS = 14
"""Steps of the bisection that balances an order: to a ten-thousandth of the largest."""


def demand_between(now: Mapping[str, Floats], start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Demand from `start` to `end` days from now, both (B, P): mean, and log deviation.

    The deviation is that of all demand up to `end` laid on the window, for the stock that meets it
    carries the error of what was sold before.
    """
    until, deviation = forecast_over(now, np.clip(end, 0.0, LONGEST))
    before, _ = forecast_over(now, np.clip(start, 0.0, LONGEST))
    mean = np.maximum(until - before, 1e-9)
    variation = np.sqrt(np.expm1(deviation**2)) * until / mean
    return mean, np.asarray(np.sqrt(np.log1p(variation**2)))


def left_at(now: Mapping[str, Floats], days: Floats) -> Floats:
    """Expected stock of the whole network `days` (B, P) from now, before any order of now arrives.

    A week's receipts come half before its sales and half after. What stands in a yard is there; of
    what is overdue, the expected part comes in the first week.
    """
    quoted = EXPECTED_FILL * now["on_order_quoted"]
    overdue = now["on_order"] - now["on_order_quoted"].sum(axis=-1)
    left = now["on_hand"].sum(axis=-1) + now["yard"].sum(axis=-1) + now["in_transfer"]
    left = left + EXPECTED_FILL * np.maximum(overdue, 0.0)
    weeks = int(np.ceil(days.max() / 7.0))
    for week in range(weeks):
        part = np.clip(days / 7.0 - week, 0.0, 1.0)
        arriving = quoted[..., week] * part if week < quoted.shape[-1] else 0.0
        mean, deviation = demand_between(now, np.full_like(days, 7.0 * week), 7.0 * (week + part))
        after = expected_left(left + 0.5 * arriving, mean, deviation) + 0.5 * arriving
        left = np.where(part > 0, after, left)
    return np.asarray(left)


class ForecastProjectedLevel(OrderingRule):
    """Orders so that expected stock on arrival covers the forecast of some days."""

    def __init__(self, facts: Facts, cover_days: float, safety_factor: float) -> None:
        """Takes the level: a quantile of the forecast over days from the quoted arrival."""
        super().__init__(facts, "projected_inventory_level")
        self._periods_per_day = facts.world.network.periods_per_day
        self._cover, self._z = cover_days, safety_factor

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Level less what will be left."""
        now = {name: np.asarray(values, dtype=np.float64) for name, values in observation.items()}
        lead = now["quoted_lead_time"] / self._periods_per_day
        mean, _ = demand_between(now, lead, lead + self._cover)
        _, deviation = forecast_over(now, np.clip(lead + self._cover, 0.0, LONGEST))
        level = mean * np.exp(self._z * deviation - deviation**2 / 2.0)
        return np.maximum(level - left_at(now, lead), 0.0), state


class ForecastDualBalancing(OrderingRule):
    """Balances an order's holding cost until it is sold against the sales lost as it arrives."""

    def __init__(self, facts: Facts, space_price: float, cover_days: float) -> None:
        """Takes a price on space, USD per ft3 and day, and the days in which sales are lost."""
        super().__init__(facts, "dual_balancing")
        self._margins = Margins(facts, self.points)
        self._periods_per_day = facts.world.network.periods_per_day
        self._space_price, self._cover = space_price, cover_days

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Bisects each order; holding rises with it and the sales lost fall."""
        now = {name: np.asarray(values, dtype=np.float64) for name, values in observation.items()}
        lead = now["quoted_lead_time"] / self._periods_per_day
        left = left_at(now, lead)
        holding = self._margins.over_per_day(now) + self._space_price * now["volume"]
        penalty = self._margins.short(now)
        near = demand_between(now, lead, lead + self._cover)
        later = [demand_between(now, lead, lead + 7.0 * k) for k in range(1, BALANCED_WEEKS + 1)]
        without = [expected_left(left, *demand) for demand in later]

        def held(order: Floats) -> Floats:
            own = [
                expected_left(left + order, *demand) - before
                for demand, before in zip(later, without, strict=True)
            ]
            return np.asarray(7.0 * holding * sum(own))

        def lost(order: Floats) -> Floats:
            there = left + order
            return np.asarray(penalty * (near[0] - there + expected_left(there, *near)))

        low, high = np.zeros_like(left), np.broadcast_to(self.points.largest_order, left.shape)
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            more = held(middle) < lost(middle)
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        return low, state
