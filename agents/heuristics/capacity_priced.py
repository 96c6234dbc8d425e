"""Newsvendor rules that pay for space and for receiving, at fixed prices or at prices they find.

Order-up-to levels are quantiles of the forecast at the fractiles of `prices`. Prices are fixed
numbers, or are found at each decision, by bisection, such that the stock expected after arrival
fits the announced space, and what is under way fits the announced receiving. Rules of this kind are
the model-predictive baseline of Eisenach, Ghai, Madeka, Torkkola, Foster & Kakade, Neural
coordination and capacity control for inventory management, 2024 (arXiv 2410.02817).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Aims,
    Facts,
    Floats,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.demand import demand_quantile, expected_left, forecast_over
from stockyard.agents.heuristics.margins import Margins, days_lost, weeks_of
from stockyard.agents.heuristics.prices import least_price, priced_fractile
from stockyard.agents.heuristics.replenishment import OrderUpTo
from stockyard.agents.heuristics.stocking_points import OrderingRule, StockingPoints
from stockyard.envs.network.forecast import HORIZONS_DAYS
from stockyard.envs.network.standing_rules import FixedLimit

MOST_TIMES = 20.0
"""Highest price of space that is tried, in margins per ft3 of the densest product."""

SWEEPS = 3
"""How often the two prices are found in turn; each makes the other's capacity a little looser."""

EXPECTED_FILL = 0.9
"""Share of an order that is expected to arrive [A]; what it errs by is tuned away."""


class CapacityPriced(OrderingRule):
    """Orders up to quantiles whose fractiles pay for space and receiving."""

    def __init__(
        self,
        facts: Facts,
        name: str,
        *,
        slack_days: float = 0.0,
        space_price: float = 0.0,
        space_use: float | None = None,
        receiving_use: float | None = None,
        entry_share: float = 0.0,
        dock_ahead: float = 0.0,
        supply_ahead: float = 0.0,
    ) -> None:
        """Takes fixed prices, or how much of the capacities to use.

        Args:
            facts: a retail world.
            name: of the rule, for errors.
            slack_days: days that levels cover beyond quoted lead time and review.
            space_price: USD per ft3 and day, unless `space_use` is given.
            space_use: part of all announced space that expected stock may take.
            receiving_use: part of the receiving announced until an order is in that yard, open and
                new orders may take; None: as much as they like.
            entry_share: part of the price of space that units pay that are sold within the cover.
            dock_ahead: days more of cover for each day of receiving announced to be lost.
            supply_ahead: the same for each day of a product's supplier.

        Raises:
            ValueError: if this is no retail world, or a number is out of range.
        """
        super().__init__(facts, name)
        for label, value in (("space_use", space_use), ("receiving_use", receiving_use)):
            if value is not None and not value > 0:
                raise ValueError(f"{label}: must be > 0, got {value!r}")
        if not (np.isfinite(space_price) and space_price >= 0):
            raise ValueError(f"space_price: must be finite and >= 0, got {space_price!r}")
        if not 0.0 <= entry_share <= 1.0:
            raise ValueError(f"entry_share: must lie between 0 and 1, got {entry_share!r}")
        self._margins = Margins(facts, self.points)
        self._review = facts.review_days
        self._periods_per_day = facts.world.network.periods_per_day
        self._slack, self._space_price = slack_days, space_price
        self._space_use, self._receiving_use = space_use, receiving_use
        self._entry_share = entry_share
        self._dock_ahead, self._supply_ahead = dock_ahead, supply_ahead

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders up to the priced levels."""
        return np.maximum(self.levels(observation) - self.points.position(observation), 0.0), state

    def levels(self, observation: Observation) -> Floats:
        """The priced levels, (B, K) units."""
        return self._priced(observation)[0]

    def aims(self, observation: Observation) -> Aims:
        """The priced levels, and what of their margins the prices take."""
        level, share = self._priced(observation)
        return Aims(level[..., None], np.zeros_like(level)[..., None], share[..., None])

    def _priced(self, observation: Observation) -> tuple[Floats, Floats]:
        """Levels at the prices that are found, and the prices in margins of a unit, both (B, K)."""
        now = {name: np.asarray(values, dtype=np.float64) for name, values in observation.items()}
        position, volume = self.points.position(now), now["volume"]
        lead = now["quoted_lead_time"] / self._periods_per_day
        cover = lead + self._review + self._slack
        if self._dock_ahead:
            lost = days_lost(self._margins.receiving_capacity(now))
            cover = cover + self._dock_ahead * lost @ self._margins.at_dock.T
        if self._supply_ahead:
            lost = days_lost(self._margins.supplier_capacity(now))
            cover = cover + self._supply_ahead * lost @ self._margins.at_supplier.T
        mean, deviation = forecast_over(now, np.clip(cover, 1.0, float(HORIZONS_DAYS[-1])))
        margin = self._margins.short(now)
        holding = self._margins.over_per_day(now) * self._review

        def levels(space: Floats, receiving: Floats) -> Floats:
            work = receiving @ self._margins.at_dock.T
            fractile = priced_fractile(
                margin, holding, volume, space[:, None], work, self._entry_share
            )
            bound = np.clip(fractile, 1e-12, 1.0 - 1e-12)
            level = mean * np.exp(ndtri(bound) * deviation - deviation**2 / 2.0)
            return np.where(fractile > 0.0, level, 0.0)

        batch, docks = len(position), len(self._margins.docks)
        space = np.full(batch, self._space_price * self._review)
        receiving = np.zeros((batch, docks))
        densest = float((margin / volume).max())
        fits = self._fits_space(now, position, lead)
        room = self._receiving_left(now, lead)

        def work_of(level: Floats) -> Floats:
            units = EXPECTED_FILL * np.maximum(level - position, 0.0)
            return np.asarray((units * volume) @ self._margins.at_dock)

        def space_at(receiving: Floats) -> Floats:
            assert fits is not None
            return least_price(
                lambda price: ~fits(levels(price, receiving)), (batch,), MOST_TIMES * densest
            )

        def receiving_at(space: Floats) -> Floats:
            assert room is not None
            left = room
            return least_price(
                lambda price: work_of(levels(space, price)) > left, (batch, docks), densest
            )

        for _ in range(1 if fits is None or room is None else SWEEPS):
            if fits is not None:
                space = space_at(receiving)
            if room is not None:
                receiving = receiving_at(space)
        paid = volume * (space[:, None] + receiving @ self._margins.at_dock.T)
        return levels(space, receiving), paid / np.maximum(margin, 1e-9)

    def _fits_space(
        self, now: Mapping[str, Floats], position: Floats, lead: Floats
    ) -> Callable[[Floats], npt.NDArray[np.bool_]] | None:
        """Whether the stock expected half a review after arrival fits; None: no limit."""
        if self._space_use is None:
            return None
        days = np.minimum(lead + self._review / 2.0, float(HORIZONS_DAYS[-1]))
        mean, deviation = forecast_over(now, days)
        rows = np.arange(len(position))
        capacity = now["storage_capacity"].sum(axis=1)  # (B, 5), all nodes
        week = np.rint((lead.mean(axis=1) + self._review) / 7.0).astype(np.intp)
        room = self._space_use * capacity[rows, np.clip(week, 0, capacity.shape[1] - 1)]

        def fits(level: Floats) -> npt.NDArray[np.bool_]:
            left = expected_left(np.maximum(level, position), mean, deviation)
            return np.asarray((left * now["volume"]).sum(axis=1) <= room)

        return fits

    def _receiving_left(self, now: Mapping[str, Floats], lead: Floats) -> Floats | None:
        """What docks can still take until an order of today is in, (B, D) ft3; None: no limit."""
        if self._receiving_use is None:
            return None
        until = lead.mean(axis=1) + self._review
        total = weeks_of(self._margins.receiving_capacity(now), until)
        waiting = EXPECTED_FILL * now["on_order"] + self._margins.in_yards(now)
        taken = (waiting * now["volume"]) @ self._margins.at_dock
        return np.asarray(np.maximum(self._receiving_use * total - taken, 0.0))


def _limited_levels(facts: Facts, points: StockingPoints, price: float | None) -> list[float]:
    """Levels in a textbook problem: at a price, or at the least price at which they fit its limit.

    Demand in whole units steps over the limit; the environment cuts what is too much.
    """
    penalty, holding = points.penalty_costs, points.holding_costs
    volume = np.asarray(facts.world.network.products.volume, dtype=np.float64)[points.product]

    def levels(at: float) -> Floats:
        # Stock is counted as it arrives, so all units pay for their space, sold or not.
        fractile = priced_fractile(penalty, holding, volume, np.array(at), np.array(0.0), 1.0)
        return np.array(
            [
                demand_quantile(points.law(k), int(points.lead_time[k]) + 1, float(fractile[k]))
                if fractile[k] > 0
                else 0.0
                for k in range(points.count)
            ]
        )

    if price is not None:
        return [float(x) for x in levels(price)]
    rule = facts.world.rules.get("restock")
    limit = float(np.min(rule.volume)) if isinstance(rule, FixedLimit) else np.inf
    if levels(0.0) @ volume <= limit:
        return [float(x) for x in levels(0.0)]
    low, high = 0.0, 1.0
    while levels(high) @ volume > limit:
        low, high = high, 2.0 * high
        if high > 1e9:
            raise ValueError("priced_newsvendor: no price brings the levels within the limit")
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if levels(middle) @ volume > limit else (low, middle)
    return [float(x) for x in levels(high)]


def _needs_retail(rule: str, facts: Facts) -> None:
    StockingPoints(facts, rule)
    if not facts.has_forecast:
        raise ValueError(f"{rule}: needs a retail world, which shows forecasts and capacities")


def _in_retail(rule: str, *parameters: Parameter) -> Callable[[Facts], tuple[Parameter, ...]]:
    """The ranges in which a rule is tuned in retail worlds."""

    def space(facts: Facts) -> tuple[Parameter, ...]:
        _needs_retail(rule, facts)
        return parameters

    return space


def _slack(low: float, high: float) -> Parameter:
    return Parameter("slack_days", low, high, least=-30.0, most=60.0)


_SPACE_USE = Parameter("space_use", 0.6, 1.4, least=0.05)
_RECEIVING_USE = Parameter("receiving_use", 0.6, 1.4, least=0.05)
_ENTRY_SHARE = Parameter("entry_share", 0.0, 0.6, least=0.0, most=1.0)
_DOCK_AHEAD = Parameter("dock_ahead", 0.0, 1.0, least=0.0)
_SUPPLY_AHEAD = Parameter("supply_ahead", 0.0, 1.5, least=0.0)


@tuned_by(
    _in_retail(
        "priced_newsvendor", Parameter("space_price", 0.0, 12.0, least=0.0), _slack(0.0, 24.0)
    )
)
def priced_newsvendor(
    env: Any, space_price: float | None = None, slack_days: float | None = None
) -> OrderingRule:
    """The newsvendor with a fixed price on space.

    In retail worlds both numbers are tuned. In textbook problems with a common limit the price is,
    unless given, the least at which all levels fit it: the Lagrangian solution, optimal for one
    period (Hadley & Whitin 1963).

    Args:
        env: a built environment in which orders are decided.
        space_price: USD per ft3 and day; in textbook problems per ft3 and period.
        slack_days: days that levels cover beyond quoted lead time and review.
    """
    facts = Facts(env)
    points = StockingPoints(facts, "priced_newsvendor")
    if not facts.has_forecast:
        if slack_days is not None:
            raise ValueError("slack_days: needs an environment that shows forecasts")
        stock = _limited_levels(facts, points, space_price)
        return OrderUpTo(facts, name="priced_newsvendor", order_up_to=stock)
    if space_price is None:
        return priced_newsvendor(env, **tuned("priced_newsvendor", facts))
    return CapacityPriced(
        facts, "priced_newsvendor", space_price=space_price, slack_days=slack_days or 0.0
    )


@tuned_by(_in_retail("space_priced_newsvendor", _SPACE_USE, _slack(0.0, 16.0), _ENTRY_SHARE))
def space_priced_newsvendor(
    env: Any,
    space_use: float | None = None,
    slack_days: float = 8.0,
    entry_share: float = 0.0,
) -> CapacityPriced:
    """The newsvendor with a price on space that is found at each decision.

    Args:
        env: a built retail environment in which orders are decided.
        space_use: part of all announced space that expected stock may take.
        slack_days: days that levels cover beyond quoted lead time and review.
        entry_share: part of the price that units pay that are sold within the cover.
    """
    return _finding_prices(
        env,
        "space_priced_newsvendor",
        space_use,
        None,
        slack_days=slack_days,
        entry_share=entry_share,
    )


@tuned_by(
    _in_retail(
        "capacity_priced_newsvendor", _SPACE_USE, _RECEIVING_USE, _slack(0.0, 16.0), _ENTRY_SHARE
    )
)
def capacity_priced_newsvendor(
    env: Any,
    space_use: float | None = None,
    receiving_use: float | None = None,
    slack_days: float = 8.0,
    entry_share: float = 0.0,
) -> CapacityPriced:
    """The newsvendor with prices on space and on receiving, both found at each decision.

    Args:
        env: a built retail environment in which orders are decided.
        space_use: part of all announced space that expected stock may take.
        receiving_use: part of the receiving announced until an order is in that yard, open and new
            orders may take.
        slack_days: days that levels cover beyond quoted lead time and review.
        entry_share: part of the price of space that units pay that are sold within the cover.
    """
    return _finding_prices(
        env,
        "capacity_priced_newsvendor",
        space_use,
        receiving_use,
        slack_days=slack_days,
        entry_share=entry_share,
    )


@tuned_by(
    _in_retail(
        "prebuilding_newsvendor",
        _SPACE_USE,
        _RECEIVING_USE,
        _slack(0.0, 16.0),
        _ENTRY_SHARE,
        _DOCK_AHEAD,
        _SUPPLY_AHEAD,
    )
)
def prebuilding_newsvendor(
    env: Any,
    space_use: float | None = None,
    receiving_use: float | None = None,
    slack_days: float = 8.0,
    entry_share: float = 0.0,
    dock_ahead: float = 0.0,
    supply_ahead: float = 0.0,
) -> CapacityPriced:
    """`capacity_priced_newsvendor` that buys ahead of announced cuts of docks and suppliers.

    Levels cover so many days more for each day of receiving, or of the supplier, that the four
    weeks announced will lose against today's. This project's own.

    Args:
        env: a built retail environment in which orders are decided.
        space_use: part of all announced space that expected stock may take.
        receiving_use: part of the receiving announced until an order is in that yard, open and new
            orders may take.
        slack_days: days that levels cover beyond quoted lead time and review.
        entry_share: part of the price of space that units pay that are sold within the cover.
        dock_ahead: days more of cover for each day of receiving announced to be lost.
        supply_ahead: the same for each day of a product's supplier.
    """
    return _finding_prices(
        env,
        "prebuilding_newsvendor",
        space_use,
        receiving_use,
        slack_days=slack_days,
        entry_share=entry_share,
        dock_ahead=dock_ahead,
        supply_ahead=supply_ahead,
    )


def _finding_prices(
    env: Any, name: str, space_use: float | None, receiving_use: float | None, **others: float
) -> CapacityPriced:
    """A rule that finds its prices, with the numbers given; without `space_use` all are tuned."""
    facts = Facts(env)
    _needs_retail(name, facts)
    if space_use is None:
        if receiving_use is not None:
            raise ValueError("space_use: must be given beside receiving_use")
        return CapacityPriced(facts, name, **tuned(name, facts))
    return CapacityPriced(facts, name, space_use=space_use, receiving_use=receiving_use, **others)
