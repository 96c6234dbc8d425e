"""Rules that look through the pipeline of a lost-sales problem with a lead time.

One product at one node, whole units, demand independent over periods. An order placed now can be
sold in L periods. What will be left on the shelf by then, Y, depends on stock, open orders and
demand alone, and its distribution is computed exactly: from x units, demand takes max(x - D, 0),
the next arrival joins, and so on, L times. The rules differ in what they do with it. Decisions are
remembered by state, so that a state is worked out once.
"""

import abc
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import toeplitz

from stockyard.agents.heuristics.base import (
    Facts,
    Floats,
    Observation,
    Parameter,
    Starts,
    tuned,
    tuned_by,
)
from stockyard.agents.heuristics.demand import demand_probabilities
from stockyard.agents.heuristics.forecast_pipeline import (
    ForecastDualBalancing,
    ForecastProjectedLevel,
)
from stockyard.agents.heuristics.stocking_points import OrderingRule, StockingPoints
from stockyard.envs.network.forecast import HORIZONS_DAYS

States = npt.NDArray[np.int64]
"""(n, L) units: on hand, then what arrives in 1, ..., L - 1 periods; (n, 1) for L = 0."""

MOST_REMEMBERED = 500_000
"""States whose order is remembered; then the rule forgets them all and begins again."""

AT_ONCE = 256
"""States worked out together: more take more memory, and no less time."""


class Tables:
    """Demand and costs on the stocks 0, ..., size - 1."""

    def __init__(self, facts: Facts, size: int) -> None:
        """Tabulates; see the attributes."""
        demand = facts.demand()
        holding = float(facts.holding_costs[0, 0])
        penalty = float(facts.penalty_costs[0, 0])
        self.size = size
        self.probability = demand_probabilities(demand, size)  # of demand d
        self.at_most = np.minimum(np.cumsum(self.probability), 1.0)  # P(D <= d)
        more = 1.0 - np.concatenate(([0.0], self.at_most[:-1]))  # P(D >= y)
        left = np.tril(toeplitz(self.probability))
        left[:, 0] = more
        self.after_demand = left  # (size, size): from y to max(y - D, 0)
        self.left_over = np.concatenate(([0.0], np.cumsum(self.at_most)[:-1]))  # E max(y - D, 0)
        # E max(D - y, 0)
        self.short: Floats = demand.mean - np.arange(size, dtype=np.float64) + self.left_over
        self.cost = holding * self.left_over + penalty * self.short  # of a period begun with y
        # E of the unit-periods that y units spend on the shelf while nothing else comes
        self.shelf_time = np.concatenate(([0.0], np.cumsum(self._renewals())[:-1]))

    def _renewals(self) -> Floats:
        """Expected number of n >= 1 with D_1 + ... + D_n <= d, by the renewal equation."""
        p, size = self.probability, self.size
        exactly = np.zeros(size)  # the expected number of n that hit d
        for d in range(size):
            later = float(p[1 : d + 1] @ exactly[:d][::-1])
            exactly[d] = (p[d] + later) / max(1.0 - p[0], 1e-12)
        return np.cumsum(exactly)

    def ahead(self, values: Floats, orders: int) -> Floats:
        """values[y + z] for stocks y < size - orders (rows) and orders z < orders (columns)."""
        rows = np.arange(self.size - orders)
        return np.asarray(values[rows[:, None] + np.arange(orders)])


class PipelineRule(OrderingRule):
    """Orders by the distribution of what is left when the order arrives."""

    def __init__(self, facts: Facts, name: str) -> None:
        """Reads costs and demand.

        Args:
            facts: the environment.
            name: of the rule, for errors.

        Raises:
            ValueError: if the environment is not a lost-sales problem in whole units.
        """
        super().__init__(facts, name)
        if facts.has_backlog or facts.has_forecast or self.points.count != 1:
            raise ValueError(f"{name}: needs a textbook problem of one product with lost sales")
        try:
            demand_probabilities(facts.demand(), 1)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not (facts.holding_costs > 0).all() or not (facts.penalty_costs > 0).all():
            raise ValueError(f"{name}: needs holding_cost > 0 and penalty_cost > 0")
        self._facts, self._lead = facts, int(self.points.lead_time[0])
        self._known: dict[tuple[int, ...], float] = {}
        self._tables = Tables(facts, 32)
        self._orders = self._most()

    def orders(
        self, observation: Observation, state: Any, episode_start: Starts
    ) -> tuple[Floats, Any]:
        """Looks every state up, and works out those that are new."""
        on_hand = np.asarray(observation["on_hand"], dtype=np.float64)[:, 0]
        columns = [on_hand]
        if self._lead > 1:
            columns.append(observation["on_order_quoted"][:, 0, : self._lead - 1])
        states = np.rint(np.concatenate(columns, axis=1)).astype(np.int64)
        keys = [tuple(row) for row in states.tolist()]
        new = sorted(set(keys) - self._known.keys())
        if new:
            if len(self._known) > MOST_REMEMBERED:
                self._known.clear()
                new = sorted(set(keys))
            self._work_out(np.array(new, dtype=np.int64))
        return np.array([[self._known[key]] for key in keys]), state

    def _work_out(self, states: States) -> None:
        # States are worked out together: one's shelf meets another's pipeline, at no probability.
        reach = int(states[:, 0].max() + states[:, 1:].sum(axis=1).max()) + self._orders + 2
        if reach + self._orders > self._tables.size:
            self._tables = Tables(self._facts, 2 * (reach + self._orders))
        for start in range(0, len(states), AT_ONCE):
            some = states[start : start + AT_ONCE]
            decided = self.best_orders(self._tables, some, self._orders)
            self._known |= dict(zip(map(tuple, some.tolist()), decided.tolist(), strict=True))

    def _most(self) -> int:
        """Orders to consider, 0, ..., most - 1: with nothing left and on the way it orders most."""
        empty = np.zeros((1, max(self._lead, 1)), dtype=np.int64)
        orders = 16
        while True:
            if self._tables.size < 2 * orders + 2:
                self._tables = Tables(self._facts, 4 * orders)
            largest = int(np.ceil(self.first_orders(self._tables, empty, orders)[0]))
            if largest < orders - 1:
                return largest + 2
            orders *= 2

    def first_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """A bound on `best_orders`, and the same unless that is dear."""
        return self.best_orders(tables, states, orders)

    @abc.abstractmethod
    def best_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """Decides for states (n, L) among the orders 0, ..., orders - 1; (n,) units."""

    def left_at_arrival(self, tables: Tables, states: States, width: int) -> Floats:
        """Distribution of Y, what is left as an order placed now arrives; (n, width)."""
        rows = np.arange(len(states))
        left = np.zeros((len(states), width))
        left[rows, states[:, 0]] = 1.0
        if self._lead == 0:
            return left
        for k in range(1, self._lead):
            left = _shifted(left @ tables.after_demand[:width, :width], states[:, k])
        return np.asarray(left @ tables.after_demand[:width, :width])


def _shifted(distributions: Floats, units: npt.NDArray[np.int64]) -> Floats:
    """Distributions (n, width) after `units` (n,) more have joined."""
    width = distributions.shape[1]
    source = np.arange(width) - units[:, None]
    taken = np.take_along_axis(distributions, np.maximum(source, 0), axis=1)
    return np.where(source >= 0, taken, 0.0)


def _least(costs: Floats) -> Floats:
    """The order of least cost, the smallest of several; (n,) units from costs (n, orders)."""
    return np.asarray(costs.argmin(axis=1), dtype=np.float64)


class Myopic(PipelineRule):
    """Minimises the expected cost of the period in which the order arrives."""

    def best_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """The order of least cost, the smallest of several."""
        left = self.left_at_arrival(tables, states, tables.size - orders)
        return _least(left @ tables.ahead(tables.cost, orders))


class Myopic2(PipelineRule):
    """Minimises the expected cost of the period of arrival and the next, ordered for myopically."""

    def first_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """The myopic order, which is no smaller."""
        left = self.left_at_arrival(tables, states, tables.size - orders)
        return _least(left @ tables.ahead(tables.cost, orders))

    def best_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """The order of least cost over both periods, the smallest of several."""
        if self._lead == 0:
            return self.first_orders(tables, states, orders)
        width = tables.size - 2 * orders
        first = (
            self.left_at_arrival(tables, states, width) @ tables.ahead(tables.cost, orders)[:width]
        )
        # Next period's shelf, before its arrival: v units with the probabilities of a row.
        most = int(states[:, 0].max()) + 1
        chances = tables.after_demand[states[:, 0], :most]
        shelf = np.tile(np.arange(most), len(states))
        rest = np.repeat(states[:, 1:], most, axis=0)
        following: Floats = np.zeros((len(shelf), width))
        following[np.arange(len(shelf)), shelf + (rest[:, 0] if self._lead > 1 else 0)] = 1.0
        for k in range(1, self._lead):
            following = np.asarray(following @ tables.after_demand[:width, :width])
            if k < self._lead - 1:
                following = _shifted(following, rest[:, k])
        reach = tables.size - orders
        costs: Floats = tables.after_demand[:reach, :reach] @ tables.ahead(tables.cost, orders)
        second = np.stack(
            [(following @ costs[z : z + width]).min(axis=1) for z in range(orders)], axis=1
        ).reshape(len(states), most, orders)
        total = first + np.einsum("nv,nvz->nz", chances, second)
        return _least(total)


class ProjectedInventoryLevel(PipelineRule):
    """Orders so that the expected stock on arrival is at a level."""

    def __init__(self, facts: Facts, level: float) -> None:
        """Takes the level, units."""
        if not (np.isfinite(level) and level >= 0):
            raise ValueError(f"level: must be finite and >= 0, got {level!r}")
        self._level = float(level)
        super().__init__(facts, "projected_inventory_level")

    def best_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """Level less E[Y], to the nearest unit, never negative."""
        width = tables.size - orders
        expected = self.left_at_arrival(tables, states, width) @ np.arange(width)
        return np.asarray(np.maximum(np.floor(self._level - expected + 0.5), 0.0))


class DualBalancing(PipelineRule):
    """Balances what the order will cost on the shelf against the sales lost as it arrives."""

    def best_orders(self, tables: Tables, states: States, orders: int) -> Floats:
        """The order where the larger of the two costs is least, the smallest of several."""
        holding = float(self._facts.holding_costs[0, 0])
        penalty = float(self._facts.penalty_costs[0, 0])
        left = self.left_at_arrival(tables, states, tables.size - orders)
        # Units are sold in the order in which they came: the order's own time on the shelf is that
        # of all units less that of the units before it, whatever is ordered later.
        own = left @ tables.ahead(tables.shelf_time, orders)
        held = holding * (own - own[:, :1])
        lost = penalty * (left @ tables.ahead(tables.short, orders))
        return _least(np.maximum(held, lost))


def myopic(env: Any) -> Myopic:
    """The myopic rule for lost sales (Morton, Operations Research 19, 1971; Zipkin 2008).

    Orders what minimises the expected holding and penalty cost of the period in which the order
    arrives, given stock and open orders.

    Args:
        env: a built lost-sales problem of one product in whole units.

    References:
        Zipkin, Old and new methods for lost-sales inventory systems, Operations Research 56, 2008.
    """
    return Myopic(Facts(env), "myopic")


def myopic_2(env: Any) -> Myopic2:
    """The myopic rule over two periods, Myopic2 of Zipkin (2008).

    Orders what minimises the expected cost of the period of arrival and of the period after it,
    for which the next order, placed when one more demand has been seen, is chosen to be best.

    Args:
        env: a built lost-sales problem of one product in whole units.

    References:
        Zipkin, Old and new methods for lost-sales inventory systems, Operations Research 56, 2008.
    """
    return Myopic2(Facts(env), "myopic_2")


def _level_space(facts: Facts) -> tuple[Parameter, ...]:
    if facts.has_forecast:
        return (
            Parameter("cover_days", 6.0, 30.0, least=1.0, most=float(HORIZONS_DAYS[-1])),
            Parameter("safety_factor", -1.0, 2.0),
        )
    demand = facts.demand()
    low = max(demand.mean - demand.sd, 0.0)
    return (Parameter("level", low, demand.mean + 3.0 * max(demand.sd, 1.0), least=0.0),)


@tuned_by(_level_space)
def projected_inventory_level(
    env: Any,
    level: float | None = None,
    cover_days: float | None = None,
    safety_factor: float = 0.0,
) -> OrderingRule:
    """The projected inventory level rule (van Jaarsveld & Arts, Operations Research 72, 2024).

    Orders so that the expected stock at the time of arrival, the order included, equals the level;
    the expectation follows the lost-sales dynamics. Asymptotically optimal both for long lead times
    and for high penalty costs. In textbook problems orders are rounded to whole units. In retail
    worlds the level follows the forecast, and the stock expected at the quoted arrival is followed
    from week to week.

    Args:
        env: a built lost-sales problem of one product in whole units, or a retail environment in
            which orders are decided.
        level: units, in a textbook problem.
        cover_days: days from the quoted arrival that the level covers, in retail worlds.
        safety_factor: z of the forecast's quantile, in retail worlds.
    """
    facts = Facts(env)
    if facts.has_forecast:
        StockingPoints(facts, "projected_inventory_level")
        if level is not None:
            raise ValueError("level: projected_inventory_level takes cover_days in retail worlds")
        if cover_days is None:
            found = tuned("projected_inventory_level", facts)
            return ForecastProjectedLevel(facts, **found)
        return ForecastProjectedLevel(facts, cover_days, safety_factor)
    if level is None:
        ProjectedInventoryLevel(facts, 0.0)
        return projected_inventory_level(env, **tuned("projected_inventory_level", facts))
    return ProjectedInventoryLevel(facts, level)


def _balancing_space(facts: Facts) -> tuple[Parameter, ...]:
    if not facts.has_forecast:
        raise ValueError("dual_balancing: has nothing to tune in a textbook problem")
    StockingPoints(facts, "dual_balancing")
    return (
        Parameter("space_price", 0.0, 8.0, least=0.0),
        Parameter("cover_days", 6.0, 40.0, least=0.5, most=float(HORIZONS_DAYS[-1])),
    )


@tuned_by(_balancing_space)
def dual_balancing(
    env: Any, space_price: float | None = None, cover_days: float = 7.0
) -> OrderingRule:
    """Dual balancing: at most twice the cost of the optimum (Levi, Janakiraman & Nagarajan 2008).

    The order balances two marginal costs: the expected holding cost of its own units until they are
    sold, and the expected penalty of the period in which it arrives. Their proof rounds the balance
    at random; here the order is the whole number at which the larger of the two costs is least, and
    in retail worlds the quantity at which they are equal. There holding costs next to nothing
    against a margin, and it is the space that is scarce: a price on it is added, and tuned.

    Args:
        env: a built lost-sales problem of one product in whole units, or a retail environment in
            which orders are decided.
        space_price: USD per ft3 and day, in retail worlds.
        cover_days: days from the quoted arrival in which sales are lost, in retail worlds.

    References:
        Levi, Janakiraman & Nagarajan, A 2-approximation algorithm for stochastic inventory control
        models with lost sales, Mathematics of Operations Research 33, 2008.
    """
    facts = Facts(env)
    if not facts.has_forecast:
        if space_price is not None:
            raise ValueError("space_price: dual_balancing takes it in retail worlds only")
        return DualBalancing(facts, "dual_balancing")
    StockingPoints(facts, "dual_balancing")
    if space_price is None:
        return ForecastDualBalancing(facts, **tuned("dual_balancing", facts))
    return ForecastDualBalancing(facts, space_price, cover_days)
