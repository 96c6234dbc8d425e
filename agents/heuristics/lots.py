"""Rules for a fixed cost per order: (s, S), modified (s, S), and (r, Q) in multiples of a lot."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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
from stockyard.agents.heuristics.replenishment import Level, OrderUpTo, forecast_space
from stockyard.agents.heuristics.stocking_points import OrderingRule, StockingPoints


class LotMultiples(OrderingRule):
    """Orders the fewest lots that bring the position above the reorder point."""

    def __init__(
        self,
        facts: Facts,
        *,
        reorder_point: Levels | None = None,
        quantity: Levels | None = None,
        safety_factor: float | None = None,
        cover_days: float | None = None,
        lot_reviews: float | None = None,
    ) -> None:
        """Takes fixed numbers in units, or numbers that follow the forecast; see `r_Q`.

        Raises:
            ValueError: if the lot is not positive, or missing.
        """
        super().__init__(facts, "r_Q")
        self._level = Level(
            facts, self.points, reorder_point, safety_factor, cover_days, "reorder_point"
        )
        self._quantity: Floats | None = None
        self._lot_reviews = lot_reviews
        if quantity is not None:
            self._quantity = self.points.levels(quantity, "quantity")
            if not (self._quantity > 0).all():
                raise ValueError(f"quantity: must be > 0, got {quantity!r}")
        elif lot_reviews is None:
            raise ValueError("quantity: must be given beside the reorder point")
        elif not (facts.has_forecast and lot_reviews > 0):
            raise ValueError("lot_reviews: must be > 0, in an environment that shows forecasts")

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Orders n lots, the smallest n with position + n Q > r."""
        position = self.points.position(observation)
        lot: Any = self._quantity
        if lot is None:
            assert self._lot_reviews is not None
            lot = np.maximum(self._lot_reviews * self._level.per_review(observation), 1e-9)
        lots = np.floor((self._level(observation) - position) / lot) + 1.0
        return np.maximum(lots, 0.0) * lot, state


def _lot_space(facts: Facts, rule: str) -> tuple[Parameter, ...]:
    """Reorder points and a lot, around those of the economic order quantity with backorders.

    Q = sqrt(2 K m (h + p) / (h p)) and r = m (L + 1) - Q h / (h + p), with m the mean demand of a
    period (Zipkin 2000, section 3.3). An order falls due every n periods, and costs have a valley
    for each n near Q / m, of lots somewhat below n m: the search begins in the two next to Q.
    """
    points = StockingPoints(facts, rule)
    mean = points.mean_per_review
    holding = np.maximum(points.holding_costs, 1e-9)
    penalty = np.maximum(points.penalty_costs, 1e-9)
    fixed = facts.world.economics.fixed_order_cost
    lots = np.sqrt(2.0 * fixed * mean * (holding + penalty) / (holding * penalty))
    levels = mean * (points.lead_time + 1.0) - lots * holding / (holding + penalty)
    first = int(np.argmax(lots))
    demand, periods = float(mean[first]), int(lots[first] / mean[first])
    valleys = [max((n - 0.6) * demand, 1.0) for n in (periods, periods + 1) if n > 0]
    whole = facts.world.whole_units
    half = max(0.5 * demand, 2.0)
    lot = Parameter(
        "lot",
        valleys[-1] - half,
        valleys[-1] + half,
        whole,
        least=1.0 if whole else 1e-3,
        elsewhere=tuple(valleys[:-1]),
    )
    return (*points.level_parameters("reorder_point", levels), lot)


def _s_S_space(facts: Facts) -> tuple[Parameter, ...]:  # noqa: N802
    if facts.has_forecast:
        return (*forecast_space(), Parameter("lot_reviews", 0.0, 2.0, least=0.0))
    return _lot_space(facts, "s_S")


def _s_S_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:  # noqa: N802
    if facts.has_forecast:
        return dict(values)
    point = StockingPoints(facts, "s_S").from_groups("reorder_point", values)
    upto = (np.asarray(point) + values["lot"]).tolist()
    return {"reorder_point": point, "order_up_to": upto}


@tuned_by(_s_S_space, _s_S_levels)
def s_S(  # noqa: N802  (the literature's name)
    env: Any,
    reorder_point: Levels | None = None,
    order_up_to: Levels | None = None,
    safety_factor: float | None = None,
    cover_days: float | None = None,
    lot_reviews: float | None = None,
) -> OrderUpTo:
    """(s, S): order up to S when the position is at or below s (Scarf 1960).

    Args:
        env: a built environment in which orders are decided.
        reorder_point: s, scalar or (K,) units.
        order_up_to: S, scalar or (K,) units.
        safety_factor: z of the forecast's quantile for S, in worlds that show forecasts.
        cover_days: days of forecast that S covers; None: quoted lead time and review.
        lot_reviews: S - s in forecast demands of a review period.
    """
    facts = Facts(env)
    if order_up_to is None and safety_factor is None:
        StockingPoints(facts, "s_S")
        return s_S(env, **tuned("s_S", facts))
    if reorder_point is None and lot_reviews is None:
        raise ValueError("reorder_point: must be given beside the level")
    return OrderUpTo(
        facts,
        name="s_S",
        order_up_to=order_up_to,
        reorder_point=reorder_point,
        safety_factor=safety_factor,
        cover_days=cover_days,
        lot_reviews=lot_reviews,
    )


def _modified_space(facts: Facts) -> tuple[Parameter, ...]:
    if facts.has_forecast:
        return (*_s_S_space(facts), Parameter("cap_reviews", 1.0, 3.0, least=0.1))
    space = _lot_space(facts, "modified_s_S")
    lot = space[-1]
    return (*space, Parameter("quantity", lot.low, lot.high, lot.integer, lot.least))


def _modified_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:
    if facts.has_forecast:
        return dict(values)
    return _s_S_levels(facts, values) | {"quantity": values["quantity"]}


@tuned_by(_modified_space, _modified_levels)
def modified_s_S(  # noqa: N802  (the literature's name)
    env: Any,
    reorder_point: Levels | None = None,
    order_up_to: Levels | None = None,
    quantity: Levels | None = None,
    safety_factor: float | None = None,
    cover_days: float | None = None,
    lot_reviews: float | None = None,
    cap_reviews: float | None = None,
) -> OrderUpTo:
    """(s, S, q): order min(S - position, q) when the position is at or below s.

    For lost sales with a fixed cost: close to optimal, where a full (s, S) order would be too large
    too often (Bijvank, Bhulai & Huh, European Journal of Operational Research 241, 2015).

    Args:
        env: a built environment in which orders are decided.
        reorder_point: s, scalar or (K,) units.
        order_up_to: S, scalar or (K,) units.
        quantity: q, the largest order, scalar or (K,) units.
        safety_factor: z of the forecast's quantile for S, in worlds that show forecasts.
        cover_days: days of forecast that S covers; None: quoted lead time and review.
        lot_reviews: S - s in forecast demands of a review period.
        cap_reviews: q in forecast demands of a review period.
    """
    facts = Facts(env)
    if safety_factor is not None:
        if lot_reviews is None or cap_reviews is None:
            raise ValueError("lot_reviews and cap_reviews: must be given beside the level")
        return OrderUpTo(
            facts,
            name="modified_s_S",
            safety_factor=safety_factor,
            cover_days=cover_days,
            lot_reviews=lot_reviews,
            cap_reviews=cap_reviews,
        )
    if reorder_point is None and order_up_to is None and quantity is None:
        StockingPoints(facts, "modified_s_S")
        return modified_s_S(env, **tuned("modified_s_S", facts))
    for name, given in (
        ("reorder_point", reorder_point),
        ("order_up_to", order_up_to),
        ("quantity", quantity),
    ):
        if given is None:
            raise ValueError(f"{name}: must be given beside the others")
    return OrderUpTo(
        facts,
        name="modified_s_S",
        order_up_to=order_up_to,
        reorder_point=reorder_point,
        cap=quantity,
    )


def _r_Q_space(facts: Facts) -> tuple[Parameter, ...]:  # noqa: N802
    if facts.has_forecast:
        return (*forecast_space(), Parameter("lot_reviews", 0.1, 2.0, least=0.05))
    return _lot_space(facts, "r_Q")


def _r_Q_levels(facts: Facts, values: Mapping[str, float]) -> dict[str, Any]:  # noqa: N802
    if facts.has_forecast:
        return dict(values)
    point = StockingPoints(facts, "r_Q").from_groups("reorder_point", values)
    return {"reorder_point": point, "quantity": values["lot"]}


@tuned_by(_r_Q_space, _r_Q_levels)
def r_Q(  # noqa: N802  (the literature's name)
    env: Any,
    reorder_point: Levels | None = None,
    quantity: Levels | None = None,
    safety_factor: float | None = None,
    cover_days: float | None = None,
    lot_reviews: float | None = None,
) -> LotMultiples:
    """(r, Q), in periodic review (s, nQ): the fewest lots that bring the position above r.

    Optimal with backorders when orders come in multiples of a lot (Veinott, Operations Research 13,
    1965); Galliher, Morse & Simond, Operations Research 7, 1959.

    Args:
        env: a built environment in which orders are decided.
        reorder_point: r, scalar or (K,) units.
        quantity: Q, scalar or (K,) units.
        safety_factor: z of the forecast's quantile for r, in worlds that show forecasts.
        cover_days: days of forecast that r covers; None: quoted lead time and review.
        lot_reviews: Q in forecast demands of a review period.
    """
    facts = Facts(env)
    if reorder_point is None and safety_factor is None:
        if quantity is not None or lot_reviews is not None:
            raise ValueError("reorder_point: must be given beside the quantity")
        StockingPoints(facts, "r_Q")
        return r_Q(env, **tuned("r_Q", facts))
    return LotMultiples(
        facts,
        reorder_point=reorder_point,
        quantity=quantity,
        safety_factor=safety_factor,
        cover_days=cover_days,
        lot_reviews=lot_reviews,
    )
