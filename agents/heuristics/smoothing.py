"""Base-stock whose orders, all together, do not exceed what the docks can receive."""

from typing import Any

import numpy as np

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.margins import Margins
from stockyard.agents.heuristics.replenishment import OrderUpTo, forecast_space
from stockyard.agents.heuristics.stocking_points import StockingPoints


class SmoothedBaseStock(OrderUpTo):
    """Cuts the orders of a base-stock rule to the work of the docks, all in proportion."""

    def __init__(
        self, facts: Facts, safety_factor: float, cover_days: float | None, receiving_use: float
    ) -> None:
        """Takes the level and the share of receiving; see `smoothed_base_stock`."""
        super().__init__(
            facts, name="smoothed_base_stock", safety_factor=safety_factor, cover_days=cover_days
        )
        if not receiving_use > 0:
            raise ValueError(f"receiving_use: must be > 0, got {receiving_use!r}")
        self._margins = Margins(facts, self.points)
        self._use, self._review = receiving_use, facts.review_days
        self._periods_per_day = facts.world.network.periods_per_day

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders up to the level, within a review period's receiving when the orders arrive."""
        orders, state = super().orders(observation, state, episode_start)
        volume = np.asarray(observation["volume"], dtype=np.float64)
        lead = np.asarray(observation["quoted_lead_time"], dtype=np.float64)
        days = lead.mean(axis=1) / self._periods_per_day
        capacity = self._margins.receiving_capacity(observation)
        week = np.clip(np.rint(days / 7.0).astype(np.intp), 0, capacity.shape[-1] - 1)
        room = self._use * self._review * np.take_along_axis(capacity, week[:, None, None], -1)
        wanted = (orders * volume) @ self._margins.at_dock
        share = np.minimum(room[..., 0] / np.maximum(wanted, 1e-9), 1.0)
        return orders * (share @ self._margins.at_dock.T), state


def _space(facts: Facts) -> tuple[Parameter, ...]:
    _check(facts)
    return (*forecast_space(), Parameter("receiving_use", 0.8, 6.0, least=0.05, most=20.0))


def _check(facts: Facts) -> None:
    StockingPoints(facts, "smoothed_base_stock")
    if not facts.has_forecast:
        raise ValueError("smoothed_base_stock: needs a retail world, which shows its docks")


@tuned_by(_space)
def smoothed_base_stock(
    env: Any,
    safety_factor: float | None = None,
    cover_days: float | None = None,
    receiving_use: float = 1.0,
) -> SmoothedBaseStock:
    """Base-stock with a cap on the volume of all orders of a review period.

    Capped base-stock (Xin, Operations Research 69, 2021) with one cap for all products; smoothing
    of orders for the capacity upstream follows Balakrishnan, Geunes & Pangburn, Manufacturing &
    Service Operations Management 6, 2004.

    Args:
        env: a built retail environment in which orders are decided.
        safety_factor: z of the forecast's quantile.
        cover_days: days of forecast that the level covers; None: quoted lead time and review.
        receiving_use: largest volume of a review period's orders at a dock, as a part of what it
            can receive in the review period in which they are due.
    """
    facts = Facts(env)
    _check(facts)
    if safety_factor is None:
        return smoothed_base_stock(env, **tuned("smoothed_base_stock", facts))
    return SmoothedBaseStock(facts, safety_factor, cover_days, receiving_use)
