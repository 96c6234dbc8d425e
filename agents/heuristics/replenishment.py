"""Classical buying rules: from ordering last week's sales to capped base-stock and (s, S).

Each rule works in two kinds of world. In textbook problems its parameters are the literature's, in
units. In retail worlds demand drifts, so levels follow the forecast over a cover: level = mean *
exp(z s - s^2 / 2), the z-quantile of a lognormal with log deviation s. `safety_factor` (z) and
`cover_days` take the place of the level there; the cover is quoted lead time and review unless
given. Without parameters a rule tunes itself on training tapes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stockyard.agents.heuristics.base import (
    Facts,
    Heuristic,
    Parameter,
    demand_quantile,
    forecast_over,
)
from stockyard.envs.network.forecast import HORIZONS_DAYS

Observation = Mapping[str, npt.NDArray[Any]]
Levels = float | npt.ArrayLike


class Naive(Heuristic):
    """Orders what was sold since the last decision, and the mean demand at first.

    The zero of the suite's scores. Where the observation shows no sales, they are inferred: last
    position plus last order less the position now. The last order is what was asked for, within the
    bounds of the action; where a supplier or a full store cut it further, the cut is taken for
    sales, for nothing in the observation tells them apart.
    """

    def __init__(self, facts: Facts) -> None:
        """Reads the mean demand of a review period."""
        super().__init__(facts)
        self._first = facts.mean_per_review
        self._largest = facts.largest_order

    def orders(
        self, observation: Observation, state: Any, episode_start: Any
    ) -> tuple[npt.NDArray[Any], Any]:
        """Orders last period's sales; the state is the position after ordering."""
        position = np.asarray(observation["inventory_position"], dtype=np.float64)
        if "sales_history" in observation:
            sales = np.asarray(observation["sales_history"][..., 0], dtype=np.float64)
            return np.minimum(sales, self._largest), None
        sold = np.broadcast_to(self._first, position.shape)
        if state is not None:
            seen = np.maximum(state - position, 0.0)
            fresh = np.zeros(len(position), bool) if episode_start is None else episode_start
            sold = np.where(fresh[:, None], sold, seen)
        order = np.minimum(sold, self._largest)
        return order, position + order


class ConstantOrder(Heuristic):
    """Orders the same quantity always.

    Asymptotically optimal for lost sales with long lead times (Goldberg, Katz-Rogozhnikov, Lu,
    Sharma & Squillante, Mathematics of Operations Research 41, 2016).
    """

    def __init__(self, facts: Facts, quantity: Levels) -> None:
        """Takes the order, scalar or (P,) units."""
        super().__init__(facts)
        self._quantity = _per_product(quantity, facts, "quantity")

    def orders(
        self, observation: Observation, state: Any, episode_start: Any
    ) -> tuple[npt.NDArray[Any], Any]:
        """Orders the quantity."""
        shape = observation["inventory_position"].shape
        return np.broadcast_to(self._quantity, shape), state


class OrderUpTo(Heuristic):
    """Orders up to a level when the position is at or below a reorder point, at most a cap.

    Base-stock, capped base-stock and (s, S) are this rule with some of its numbers left out.
    """

    def __init__(
        self,
        facts: Facts,
        *,
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
            order_up_to: scalar or (P,) units.
            safety_factor: z of the forecast's quantile, instead of `order_up_to`.
            cover_days: days of forecast that the level covers; None: quoted lead time and review.
            cap: largest order, scalar or (P,) units.
            reorder_point: scalar or (P,) units: no order while the position is above.
            cap_reviews: largest order in forecast demands of a review period.
            lot_reviews: smallest order in forecast demands of a review period; with a safety
                factor, the reorder point is the level less this lot.
        """
        super().__init__(facts)
        self._review_days = facts.review_days
        self._level = None
        if order_up_to is not None:
            self._level = _per_product(order_up_to, facts, "order_up_to")
        elif safety_factor is None:
            raise ValueError("order_up_to or safety_factor: one of them must be given")
        elif not facts.has_forecast:
            raise ValueError("safety_factor: needs an environment that shows forecasts")
        self._z, self._cover_days = safety_factor, cover_days
        self._periods_per_day = facts.world.network.periods_per_day
        self._cap = None if cap is None else _per_product(cap, facts, "cap")
        self._reorder_point: npt.NDArray[np.float64] | None = None
        if reorder_point is not None:
            self._reorder_point = _per_product(reorder_point, facts, "reorder_point")
        self._cap_reviews, self._lot_reviews = cap_reviews, lot_reviews

    def orders(
        self, observation: Observation, state: Any, episode_start: Any
    ) -> tuple[npt.NDArray[Any], Any]:
        """Orders up to the level."""
        position = np.asarray(observation["inventory_position"], dtype=np.float64)
        if self._level is not None:
            level: Any = self._level
        else:
            assert self._z is not None
            lead = np.asarray(observation["quoted_lead_time"], dtype=np.float64)
            days = lead / self._periods_per_day + self._review_days
            if self._cover_days is not None:
                days = np.full_like(lead, self._cover_days)
            mean, deviation = forecast_over(observation, days)
            level = mean * np.exp(self._z * deviation - deviation**2 / 2.0)
        order = np.maximum(level - position, 0.0)
        weekly: Any = 0.0
        if self._cap_reviews is not None or self._lot_reviews is not None:
            weekly = np.asarray(observation["forecast_mean"][..., 0]) * (self._review_days / 7.0)
        if self._reorder_point is not None:
            order = np.where(position <= self._reorder_point, order, 0.0)
        if self._lot_reviews is not None:
            order = np.where(order >= self._lot_reviews * weekly, order, 0.0)
        if self._cap is not None:
            order = np.minimum(order, self._cap)
        if self._cap_reviews is not None:
            order = np.minimum(order, self._cap_reviews * weekly)
        return order, state


def naive(env: Any) -> Naive:
    """Orders last week's sales: the zero of the scores."""
    return Naive(Facts(env))


def constant_order(env: Any, quantity: Levels | None = None) -> ConstantOrder:
    """The constant-order policy; without a quantity, tuned as a share of mean demand.

    Args:
        env: a built replenishment environment.
        quantity: scalar or (P,) units.
    """
    facts = Facts(env)
    if quantity is None:
        share = _tuned("constant_order", facts)["share"]
        return ConstantOrder(facts, share * facts.mean_per_review)
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
        env: a built replenishment environment.
        fractile: between 0 and 1, instead of these.

    Raises:
        ValueError: if a cost of the problem is zero, so that its critical fractile is 0 or 1.
    """
    facts = Facts(env)
    level = _fractile(facts) if fractile is None else fractile
    if not 0.0 < level < 1.0:
        raise ValueError(f"fractile: must lie between 0 and 1, got {level!r}")
    if facts.has_forecast:
        return OrderUpTo(facts, safety_factor=float(ndtri(level)))
    stock = demand_quantile(facts.demand(), facts.lead_time + 1, level)
    return OrderUpTo(facts, order_up_to=stock)


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
        env: a built replenishment environment.
        order_up_to: scalar or (P,) units.
        safety_factor: z of the forecast's quantile, in worlds that show forecasts.
        cover_days: days of forecast that the level covers; None: quoted lead time and review.
    """
    facts = Facts(env)
    if order_up_to is None and safety_factor is None:
        return OrderUpTo(facts, **_tuned("base_stock", facts))
    return OrderUpTo(
        facts, order_up_to=order_up_to, safety_factor=safety_factor, cover_days=cover_days
    )


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
        env: a built replenishment environment.
        order_up_to: scalar or (P,) units.
        cap: largest order, scalar or (P,) units.
        safety_factor: z of the forecast's quantile, in worlds that show forecasts.
        cover_days: days of forecast that the level covers; None: quoted lead time and review.
        cap_reviews: largest order in forecast demands of a review period.
    """
    facts = Facts(env)
    if order_up_to is None and safety_factor is None:
        return OrderUpTo(facts, **_tuned("capped_base_stock", facts))
    if cap is None and cap_reviews is None:
        raise ValueError("cap: must be given beside the level")
    return OrderUpTo(
        facts,
        order_up_to=order_up_to,
        cap=cap,
        safety_factor=safety_factor,
        cover_days=cover_days,
        cap_reviews=cap_reviews,
    )


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
        env: a built replenishment environment.
        reorder_point: s, scalar or (P,) units.
        order_up_to: S, scalar or (P,) units.
        safety_factor: z of the forecast's quantile for S, in worlds that show forecasts.
        cover_days: days of forecast that S covers; None: quoted lead time and review.
        lot_reviews: S - s in forecast demands of a review period.
    """
    facts = Facts(env)
    if order_up_to is None and safety_factor is None:
        tuned = _tuned("s_S", facts)
        if "lot" in tuned:
            tuned["reorder_point"] = tuned["order_up_to"] - tuned.pop("lot")
        return OrderUpTo(facts, **tuned)
    if reorder_point is None and lot_reviews is None:
        raise ValueError("reorder_point: must be given beside the level")
    return OrderUpTo(
        facts,
        order_up_to=order_up_to,
        reorder_point=reorder_point,
        safety_factor=safety_factor,
        cover_days=cover_days,
        lot_reviews=lot_reviews,
    )


def search_space(name: str, facts: Facts) -> tuple[Parameter, ...]:
    """What a rule tunes, and where the search begins.

    Raises:
        ValueError: if the rule has nothing to tune.
    """
    if name == "constant_order":
        return (Parameter("share", 0.6, 1.4, least=0.0),)
    if facts.has_forecast:
        level: tuple[Parameter, ...] = (
            Parameter("cover_days", 10.0, 50.0, least=1.0, most=float(HORIZONS_DAYS[-1])),
            Parameter("safety_factor", -1.0, 2.0),
        )
        more = {
            "base_stock": (),
            "capped_base_stock": (Parameter("cap_reviews", 1.0, 3.0, least=0.1),),
            "s_S": (Parameter("lot_reviews", 0.0, 2.0, least=0.0),),
        }
    else:
        demand, whole = facts.demand(), facts.world.whole_units
        mean, spread = demand.mean, max(demand.sd, 1.0)
        middle = (facts.lead_time + 1) * mean
        wide = 2.0 * spread * np.sqrt(facts.lead_time + 1.0)
        low, high = np.floor(max(middle - wide, 0.0)), np.ceil(middle + 2.0 * wide)
        level = (Parameter("order_up_to", low, high, whole),)
        more = {
            "base_stock": (),
            "capped_base_stock": (
                Parameter("cap", np.floor(mean), np.ceil(mean + 3.0 * spread), whole, 0.0),
            ),
            "s_S": (Parameter("lot", 1.0, np.ceil(2.0 * mean + 2.0 * spread), whole, 0.0),),
        }
    if name not in more:
        raise ValueError(
            f"{name!r} has nothing to tune; these have: constant_order, {', '.join(more)}"
        )
    return (*level, *more[name])


def from_parameters(name: str, facts: Facts, parameters: Mapping[str, float]) -> Heuristic:
    """Builds a rule from what `search_space` names."""
    if name == "constant_order":
        return ConstantOrder(facts, parameters["share"] * facts.mean_per_review)
    values: dict[str, Any] = dict(parameters)
    if "lot" in values:
        values["reorder_point"] = values["order_up_to"] - values.pop("lot")
    return OrderUpTo(facts, **values)


def _tuned(name: str, facts: Facts) -> dict[str, Any]:
    from stockyard.agents.tuning import tune

    return dict(tune(name, facts.specification).parameters)


PRACTICE = 0.9
"""Fractile of the newsvendor rule in retail worlds."""


def _fractile(facts: Facts) -> float:
    """Critical fractile of penalty and holding cost; the practice where costs are shared."""
    if facts.has_forecast:
        return PRACTICE
    economics = facts.world.economics
    holding = float(np.mean(economics.holding_per_unit))
    penalty = float(np.mean(economics.shortage_per_unit))
    for name, cost, fractile in (("holding_cost", holding, 1), ("penalty_cost", penalty, 0)):
        if not cost > 0:
            raise ValueError(
                f"{name}: must be > 0 for a critical fractile, which would be {fractile}; got "
                f"{cost!r}. Give `fractile`, or another heuristic"
            )
    return penalty / (penalty + holding)


def _per_product(value: Levels, facts: Facts, name: str) -> npt.NDArray[np.float64]:
    products = facts.world.network.num_products
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (1,), (products,)) or not np.isfinite(array).all():
        raise ValueError(f"{name}: must be a finite number, or one for each of {products} products")
    return np.broadcast_to(array, (products,))
