"""Classical buying rules without a fixed cost: from ordering last week's sales to base-stock.

Each rule works in two kinds of world. In textbook problems its parameters are the literature's, in
units. In retail worlds demand drifts, so levels follow the forecast over a cover: level = mean *
exp(z s - s^2 / 2), the z-quantile of a lognormal with log deviation s. `safety_factor` (z) and
`cover_days` take the place of the level there; the cover is quoted lead time and review unless
given. Where locations order for themselves, a parameter may be one number for each. Without
parameters a rule tunes itself on training tapes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Levels,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.demand import demand_quantile, forecast_over
from stockyard.agents.heuristics.stocking_points import OrderingRule, StockingPoints
from stockyard.envs.network.forecast import HORIZONS_DAYS


class Naive(OrderingRule):
    """Orders what was sold since the last decision, and the mean demand at first.

    The zero of the suite's scores. Where the observation shows no sales, they are inferred: last
    position plus last order less the position now. The last order is what was asked for, within the
    bounds of the action; where a supplier or a full store cut it further, the cut is taken for
    sales, for nothing in the observation tells them apart.
    """

    def __init__(self, facts: Facts) -> None:
        """Reads the mean demand of a review period."""
        super().__init__(facts, "naive")
        self._shown_per_review = max(facts.review_periods // facts.world.periods_per_step, 1)

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders last period's sales; the state is the position after ordering."""
        largest = self.points.largest_order
        if "sales_history" in observation:
            latest = observation["sales_history"][..., : self._shown_per_review]
            return np.minimum(np.asarray(latest, dtype=np.float64).sum(axis=-1), largest), None
        position = self.points.position(observation)
        sold = np.broadcast_to(self.points.mean_per_review, position.shape)
        if state is not None:
            seen = np.maximum(state - position, 0.0)
            fresh = np.zeros(len(position), bool) if episode_start is None else episode_start
            sold = np.where(fresh[:, None], sold, seen)
        order = np.minimum(sold, largest)
        return order, position + order


class ConstantOrder(OrderingRule):
    """Orders the same quantity always."""

    def __init__(self, facts: Facts, quantity: Levels) -> None:
        """Takes the order, scalar or (K,) units."""
        super().__init__(facts, "constant_order")
        self._quantity = self.points.levels(quantity, "quantity")

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders the quantity."""
        shape = (len(observation["inventory_position"]), self.points.count)
        return np.broadcast_to(self._quantity, shape), state


class Level:
    """A level that positions are measured against: fixed, or a quantile of the forecast."""

    def __init__(
        self,
        facts: Facts,
        points: StockingPoints,
        fixed: Levels | None,
        safety_factor: float | None,
        cover_days: float | None,
        name: str = "order_up_to",
    ) -> None:
        """Takes the one or the other.

        Args:
            facts: the environment.
            points: what is ordered for.
            fixed: scalar or (K,) units.
            safety_factor: z of the forecast's quantile, instead of `fixed`.
            cover_days: days of forecast that it covers; None: quoted lead time and review.
            name: of the fixed level, for errors.

        Raises:
            ValueError: if neither is given, or there is no forecast.
        """
        self._fixed = None
        if fixed is not None:
            self._fixed = points.levels(fixed, name)
        elif safety_factor is None:
            raise ValueError(f"{name} or safety_factor: one of them must be given")
        elif not facts.has_forecast:
            raise ValueError("safety_factor: needs an environment that shows forecasts")
        self._z, self._cover_days = safety_factor, cover_days
        self._periods_per_day = facts.world.network.periods_per_day
        self._review_days = facts.review_days

    def __call__(self, observation: Observation) -> Floats:
        """The level, (B, K) or (K,) units."""
        if self._fixed is not None:
            return self._fixed
        assert self._z is not None
        lead = np.asarray(observation["quoted_lead_time"], dtype=np.float64)
        days = lead / self._periods_per_day + self._review_days
        if self._cover_days is not None:
            days = np.full_like(lead, self._cover_days)
        mean, deviation = forecast_over(observation, days)
        return np.asarray(mean * np.exp(self._z * deviation - deviation**2 / 2.0))

    def per_review(self, observation: Observation) -> Floats:
        """Forecast demand of a review period, (B, P) units."""
        week = np.asarray(observation["forecast_mean"][..., 0], dtype=np.float64)
        return np.asarray(week * (self._review_days / HORIZONS_DAYS[0]))


class OrderUpTo(OrderingRule):
    """Orders up to a level when the position is at or below a reorder point, at most a cap.

    Base-stock, capped base-stock, (s, S) and modified (s, S) are this rule with some of its numbers
    left out.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        name: str = "base_stock",
        order_up_to: Levels | None = None,
        safety_factor: float | None = None,
        cover_days: float | None = None,
        cap: Levels | None = None,
        reorder_point: Levels | None = None,
        cap_reviews: float | None = None,
        lot_reviews: float | None = None,
    ) -> None:
        """Takes fixed levels in units, or levels that follow the forecast.

        Args:
            facts: the environment.
            name: of the rule, for errors.
            order_up_to: scalar or (K,) units.
            safety_factor: z of the forecast's quantile, instead of `order_up_to`.
            cover_days: days of forecast that the level covers; None: quoted lead time and review.
            cap: largest order, scalar or (K,) units.
            reorder_point: scalar or (K,) units: no order while the position is above.
            cap_reviews: largest order in forecast demands of a review period.
            lot_reviews: smallest order in forecast demands of a review period; with a safety
                factor, the reorder point is the level less this lot.
        """
        super().__init__(facts, name)
        self._level = Level(facts, self.points, order_up_to, safety_factor, cover_days)
        for given, value in (("cap_reviews", cap_reviews), ("lot_reviews", lot_reviews)):
            if value is not None and not facts.has_forecast:
                raise ValueError(f"{given}: needs an environment that shows forecasts")
        self._cap = None if cap is None else self.points.levels(cap, "cap")
        self._reorder_point: Floats | None = None
        if reorder_point is not None:
            self._reorder_point = self.points.levels(reorder_point, "reorder_point")
        self._cap_reviews, self._lot_reviews = cap_reviews, lot_reviews

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders up to the level."""
        position = self.points.position(observation)
        order = np.maximum(self._level(observation) - position, 0.0)
        if self._reorder_point is not None:
            order = np.where(position <= self._reorder_point, order, 0.0)
        if self._lot_reviews is not None:
            least = self._lot_reviews * self._level.per_review(observation)
            order = np.where(order >= least, order, 0.0)
        if self._cap is not None:
            order = np.minimum(order, self._cap)
        if self._cap_reviews is not None:
            order = np.minimum(order, self._cap_reviews * self._level.per_review(observation))
        return order, state

    def levels(self, observation: Observation) -> Floats:
        """The level; where the order is cut, what it lifts the position to."""
        position = self.points.position(observation)
        level = np.broadcast_to(self._level(observation), position.shape)
        orders, _ = self.orders(observation, None, None)
        return np.where(level > position, position + orders, level)


def naive(env: Any) -> Naive:
    """Orders last week's sales: the zero of the scores."""
    return Naive(Facts(env))


def _share_space(facts: Facts) -> tuple[Parameter, ...]:
    return (Parameter("share", 0.6, 1.4, least=0.0),)


def _share_of_demand(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    points = StockingPoints(facts, "constant_order")
    quantity = [float(q) for q in values["share"] * points.mean_per_review]
    return {"quantity": quantity if len(quantity) > 1 else quantity[0]}


@tuned_by(_share_space, _share_of_demand)
def constant_order(env: Any, quantity: Levels | None = None) -> ConstantOrder:
    """The constant-order policy; without a quantity, tuned as a share of mean demand.

    Asymptotically optimal for lost sales with long lead times (Goldberg, Katz-Rogozhnikov, Lu,
    Sharma & Squillante, Mathematics of Operations Research 41, 2016).

    Args:
        env: a built environment in which orders are decided.
        quantity: scalar or (K,) units, one for each product or location.
    """
    facts = Facts(env)
    if quantity is None:
        StockingPoints(facts, "constant_order")
        return constant_order(env, **tuned("constant_order", facts))
    return ConstantOrder(facts, quantity)


def newsvendor(env: Any, fractile: float | None = None) -> OrderUpTo:
    """Base-stock at a fractile of the demand over lead time and review.

    In textbook problems the critical fractile of penalty and holding cost (Arrow, Harris &
    Marschak, Econometrica 19, 1951; Zipkin, Foundations of Inventory Management, 2000, section
    6.2). In retail worlds P90, one of the two quantiles that multi-horizon quantile forecasters
    serve for buying (Eisenach, Patel & Madeka, MQTransformer, 2020, arXiv 2009.14799): the fractile
    of margin against capital and rent is above .97 there, and fills docks that the rule does not
    know are shared.

    Args:
        env: a built environment in which orders are decided.
        fractile: between 0 and 1, instead of these.

    Raises:
        ValueError: if a cost of the problem is zero, so that its critical fractile is 0 or 1.
    """
    facts = Facts(env)
    points = StockingPoints(facts, "newsvendor")
    if fractile is not None and not 0.0 < fractile < 1.0:
        raise ValueError(f"fractile: must lie between 0 and 1, got {fractile!r}")
    if facts.has_forecast:
        level = PRACTICE if fractile is None else fractile
        return OrderUpTo(facts, name="newsvendor", safety_factor=float(ndtri(level)))
    fractiles = _fractiles(points) if fractile is None else np.full(points.count, fractile)
    stock = [
        demand_quantile(points.law(k), int(points.lead_time[k]) + 1, float(fractiles[k]))
        for k in range(points.count)
    ]
    return OrderUpTo(facts, name="newsvendor", order_up_to=stock)


PRACTICE = 0.9
"""Fractile of the newsvendor rule in retail worlds."""


def _fractiles(points: StockingPoints) -> Floats:
    """Critical fractiles of penalty and holding cost, (K,)."""
    holding, penalty = points.holding_costs, points.penalty_costs
    for name, cost, fractile in (("holding_cost", holding, 1), ("penalty_cost", penalty, 0)):
        if not (cost > 0).all():
            raise ValueError(
                f"{name}: must be > 0 for a critical fractile, which would be {fractile}; got "
                f"{float(cost.min())!r}. Give `fractile`, or another heuristic"
            )
    return penalty / (penalty + holding)


def forecast_space() -> tuple[Parameter, ...]:
    """Coordinates of a level that follows the forecast."""
    return (
        Parameter("cover_days", 10.0, 60.0, least=1.0, most=float(HORIZONS_DAYS[-1])),
        Parameter("safety_factor", -2.0, 2.0),
    )


def _base_stock_space(facts: Facts) -> tuple[Parameter, ...]:
    if facts.has_forecast:
        return forecast_space()
    return StockingPoints(facts, "base_stock").level_parameters("order_up_to")


def _base_stock_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    if facts.has_forecast:
        return dict(values)
    points = StockingPoints(facts, "base_stock")
    return {"order_up_to": points.from_groups("order_up_to", values)}


@tuned_by(_base_stock_space, _base_stock_levels)
def base_stock(
    env: Any,
    order_up_to: Levels | None = None,
    safety_factor: float | None = None,
    cover_days: float | None = None,
) -> OrderUpTo:
    """Base-stock: order up to a level each period.

    Optimal with backorders and no fixed cost (Karlin & Scarf 1958); a strong rule elsewhere
    (Huh, Janakiraman, Muckstadt & Rusmevichientong, Management Science 55, 2009).

    Args:
        env: a built environment in which orders are decided.
        order_up_to: scalar or (K,) units, one for each product or location.
        safety_factor: z of the forecast's quantile, in worlds that show forecasts.
        cover_days: days of forecast that the level covers; None: quoted lead time and review.
    """
    facts = Facts(env)
    if order_up_to is None and safety_factor is None:
        StockingPoints(facts, "base_stock")
        return base_stock(env, **tuned("base_stock", facts))
    return OrderUpTo(
        facts, order_up_to=order_up_to, safety_factor=safety_factor, cover_days=cover_days
    )


def _capped_space(facts: Facts) -> tuple[Parameter, ...]:
    if facts.has_forecast:
        return (*forecast_space(), Parameter("cap_reviews", 1.0, 3.0, least=0.1))
    points = StockingPoints(facts, "capped_base_stock")
    mean, spread = float(points.mean_per_review.max()), float(points.sd.max())
    cap = Parameter(
        "cap",
        float(np.floor(mean)),
        float(np.ceil(mean + 3.0 * spread)),
        facts.world.whole_units,
        0.0,
    )
    return (*points.level_parameters("order_up_to"), cap)


def _capped_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    if facts.has_forecast:
        return dict(values)
    return _base_stock_levels(facts, values) | {"cap": values["cap"]}


@tuned_by(_capped_space, _capped_levels)
def capped_base_stock(
    env: Any,
    order_up_to: Levels | None = None,
    cap: Levels | None = None,
    safety_factor: float | None = None,
    cover_days: float | None = None,
    cap_reviews: float | None = None,
) -> OrderUpTo:
    """Base-stock whose orders never exceed a cap (Xin, Operations Research 69, 2021).

    Args:
        env: a built environment in which orders are decided.
        order_up_to: scalar or (K,) units, one for each product or location.
        cap: largest order, scalar or (K,) units.
        safety_factor: z of the forecast's quantile, in worlds that show forecasts.
        cover_days: days of forecast that the level covers; None: quoted lead time and review.
        cap_reviews: largest order in forecast demands of a review period.
    """
    facts = Facts(env)
    if order_up_to is None and safety_factor is None:
        StockingPoints(facts, "capped_base_stock")
        return capped_base_stock(env, **tuned("capped_base_stock", facts))
    if cap is None and cap_reviews is None:
        raise ValueError("cap: must be given beside the level")
    return OrderUpTo(
        facts,
        name="capped_base_stock",
        order_up_to=order_up_to,
        cap=cap,
        safety_factor=safety_factor,
        cover_days=cover_days,
        cap_reviews=cap_reviews,
    )
