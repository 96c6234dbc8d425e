"""One node with lost sales: the optimum, and the exact cost of the classical rules.

State: stock x after today's arrival, and z_1, ..., z_{L-1}, the orders that arrive in 1, ..., L - 1
periods; an order q sees it, then demand, then cost; next period (x - D)+ + z_1, z_2, ..., q.

Truncation. Demand is not cut: only P(D >= x) matters. Stock is cut at X and orders at Z; what
exceeds X is thrown away. The optimum is accepted if its policy, from empty, never holds stock plus
orders above X nor orders Z or more; else the bounds that bind are raised. The cost is then attained
without the cut. Larger bounds should find nothing cheaper: the search starts with X at the standard
base-stock level, the optimum with backorders, which Zipkin (2008) gives as an upper bound of the
optimal position, and with Z above the newsvendor quantity of one period. Where that is cheap the
average cost is found again with larger bounds, and the difference counts as error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from stockyard.agents.oracles.demand import Floats, Ints, masses
from stockyard.agents.oracles.demand import fractile as quantile
from stockyard.agents.oracles.dynamic_programming import (
    TOLERANCE,
    Average,
    Chain,
    check_size,
    discounted_iteration,
    explore,
    value_iteration,
)
from stockyard.agents.oracles.parameters import Levels, whole
from stockyard.agents.oracles.solution import (
    Observation,
    Solution,
    Truncation,
    look_up,
    units,
)
from stockyard.envs.textbook import SingleNode

MOST_STOCK = 2048
"""Units of stock that the cost of a constant order follows at most."""

MORE_STOCK, MORE_ORDER = 5, 2
"""By how much the bounds are enlarged, to see whether they matter, units."""

MOST_CHECKED = 25_000
"""States up to which an instance is solved again with larger bounds."""

Rule = Callable[[Ints], Ints]
"""States (n, max(L, 1)) to orders (n,)."""


class Model:
    """The operator of the problem on tables of (x, z_1, ..., z_{L-1})."""

    def __init__(self, scenario: SingleNode, largest_stock: int, largest_order: int) -> None:
        """Tabulates one period.

        Args:
            scenario: the instance; demand on whole units.
            largest_stock: X, units.
            largest_order: Z, units.
        """
        slots = max(scenario.lead_time, 1)
        # tables of states, and for rules' and best orders those of states and orders
        check_size((largest_stock + 1) * (largest_order + 1) ** (slots - 1))
        self.scenario = scenario
        self.largest_stock, self.largest_order = largest_stock, largest_order
        law = masses(scenario.demand, at_least=largest_stock + 1)
        x = np.arange(largest_stock + 1)
        left = x[:, None] - x[None, :]
        # P((x - D)+ = y): the tail of D is in y = 0
        self.leaves = np.where(left > 0, law.p[np.maximum(left, 0)], 0.0)
        self.leaves = np.where((x[:, None] > 0) & (left == 0), law.p[0], self.leaves)
        self.leaves[:, 0] = 1.0 - self.leaves[:, 1:].sum(axis=1)
        self.one_period = scenario.holding_cost * law.leftover(
            x
        ) + scenario.penalty_cost * law.shortage(x)
        self.ordering = scenario.unit_cost * np.arange(largest_order + 1) + np.where(
            np.arange(largest_order + 1) > 0, scenario.fixed_order_cost, 0.0
        )
        self.shape = (largest_stock + 1,) + (largest_order + 1,) * (scenario.lead_time - 1)

    def expected_slice(self, values: Floats, arriving: int) -> Floats:
        """E values after a period with `arriving` units next: (x, z_2, ..., q)."""
        stock = np.minimum(np.arange(self.largest_stock + 1) + arriving, self.largest_stock)
        after = values[stock].reshape(len(stock), -1)
        return np.asarray((self.leaves @ after).reshape((len(stock), *values.shape[1:])))

    def expected(self, values: Floats) -> Floats:
        """E values after a period, for each state and order: (x, z_1, ..., z_{L-1}, q)."""
        check_size((self.largest_order + 1) * values.size)
        slices = [self.expected_slice(values, z) for z in range(self.largest_order + 1)]
        return np.stack(slices, axis=1)

    def update(self, values: Floats, discount: float = 1.0) -> Floats:
        """One step of value iteration."""
        after = np.empty(self.shape)
        if self.scenario.lead_time == 1:
            total = discount * self.expected(values) + self.ordering
            return np.asarray(total.min(axis=1) + self.one_period)
        immediate = self.one_period.reshape((-1,) + (1,) * (len(self.shape) - 2))
        for z in range(self.largest_order + 1):
            total = discount * self.expected_slice(values, z)
            total += self.ordering
            after[:, z] = total.min(axis=-1) + immediate
        return after

    def best_orders(self, values: Floats, discount: float = 1.0) -> Ints:
        """The smallest best order of each state."""
        total = discount * self.expected(values) + self.ordering
        least = total.min(axis=-1, keepdims=True)
        return np.asarray(np.argmax(total <= least + 1e-9 * np.abs(least) + 1e-9, axis=-1))

    def cost_when_it_arrives(self, discount: float = 1.0) -> Floats:
        """Expected cost in the period in which an order arrives, (x, z_1, ..., z_{L-1}, q)."""
        values = self.one_period
        for _ in range(self.scenario.lead_time):
            values = discount * self.expected(values)
        return values

    def chain(self, rule: Rule) -> Chain:
        """The chain of a rule, from empty; stock must stay within X and orders within Z."""
        size = (self.largest_stock + 1, *(self.largest_order + 1,) * (len(self.shape) - 1))
        strides = np.concatenate((np.cumprod(size[::-1])[::-1][1:], [1])).astype(np.int64)
        leftover = np.arange(self.largest_stock + 1)

        def decoded(codes: Ints) -> Ints:
            return np.stack(np.unravel_index(codes, size), axis=1)

        def step(codes: Ints) -> tuple[Ints, Floats]:
            states = decoded(codes)
            order = rule(states)
            if order.max(initial=0) > self.largest_order:
                raise ValueError(f"an order of {order.max()} exceeds {self.largest_order} units")
            pipeline = np.concatenate((states[:, 1:], order[:, None]), axis=1)
            rest = pipeline[:, 0] * strides[0] + pipeline[:, 1:] @ strides[1:]
            probability = self.leaves[states[:, 0]]
            stock = leftover[None, :] + pipeline[:, :1]
            if (stock[probability > 0] > self.largest_stock).any():
                raise ValueError(f"stock exceeds {self.largest_stock} units")
            return rest[:, None] + leftover[None, :] * strides[0], probability

        def cost(codes: Ints) -> Floats:
            states = decoded(codes)
            return np.asarray(self.one_period[states[:, 0]] + self.ordering[rule(states)])

        return explore(step, cost, np.zeros(1, dtype=np.int64), int(np.prod(size)))


def _critical(scenario: SingleNode) -> float:
    h, p = scenario.holding_cost, scenario.penalty_cost
    if not (h > 0 and p > 0):
        raise ValueError("holding_cost, penalty_cost: both must be > 0 for an optimum to exist")
    return p / (h + p)


def _first_bounds(scenario: SingleNode) -> tuple[int, int]:
    ratio = _critical(scenario)
    h = scenario.holding_cost
    lot = math.ceil(math.sqrt(2.0 * scenario.fixed_order_cost * scenario.demand.mean / h))
    stock = int(quantile(scenario.demand, scenario.lead_time + 1, ratio)) + lot
    order = int(quantile(scenario.demand, 1, ratio)) + 1 + lot
    return stock, order


def _checked(scenario: SingleNode) -> None:
    if not scenario.demand.is_integer:
        raise ValueError(
            "lost sales: with demand that is not on whole units the state is continuous and no "
            f"exact oracle exists, got {scenario.demand!r}"
        )


def solve(
    scenario: SingleNode,
    discount: float | None = None,
    periods: int | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The optimum: average cost, or total cost from empty with `discount` or over `periods`.

    With `periods` the policy is that of the first period.
    """
    _checked(scenario)
    if scenario.lead_time == 0:
        return _solve_without_lead_time(scenario, discount, periods, tolerance)
    largest_stock, largest_order = _first_bounds(scenario)
    for _ in range(12):
        model = Model(scenario, largest_stock, largest_order)
        found, orders = _solved(model, discount, periods, tolerance)
        position, order = _reach(model, orders)
        if position <= largest_stock and order < largest_order:
            break
        largest_stock += 5 if position > largest_stock else 0
        largest_order += 4 if order >= largest_order else 0
    else:
        raise ValueError("the bounds on stock and orders still bind after twelve enlargements")
    error, rule = found.error, "the policy, from empty, never exceeds the stock bound nor meets "
    rule += "the order bound; the error is half the width of the bounds of value iteration"
    if discount is None and periods is None and found.values.size <= MOST_CHECKED:
        error += _gain_of_larger_bounds(model, found, tolerance)
        rule += f", and what {MORE_STOCK} and {MORE_ORDER} units more change"
    else:
        rule += "; larger bounds were not tried"
    lead_time = scenario.lead_time

    def read(observation: Observation) -> Ints:
        stock = units(observation, "on_hand", 1)
        return np.hstack((stock, units(observation, "on_order_quoted", lead_time - 1)))

    policy = look_up(orders[..., None], (0,) * lead_time, read, "on_hand")
    truncation = Truncation(
        {"stock": largest_stock, "order": largest_order},
        error,
        rule,
    )
    return Solution(found.cost, policy, truncation, {})


def _gain_of_larger_bounds(model: Model, found: Average, tolerance: float) -> float:
    """By how much the average cost differs with larger bounds on stock and orders, USD."""
    wide = Model(model.scenario, model.largest_stock + MORE_STOCK, model.largest_order + MORE_ORDER)
    more = [(0, new - old) for new, old in zip(wide.shape, model.shape, strict=True)]
    start = np.pad(found.values, more, mode="edge")
    return abs(value_iteration(wide.update, start, tolerance).cost - found.cost)


def _solved(
    model: Model, discount: float | None, periods: int | None, tolerance: float
) -> tuple[Average, Ints]:
    start = np.zeros(model.shape)
    if periods is not None:
        values = start
        for _ in range(periods - 1):
            values = model.update(values, discount or 1.0)
        first = model.update(values, discount or 1.0).flat[0]
        return Average(first, first, values), model.best_orders(values, discount or 1.0)
    if discount is not None:
        found = discounted_iteration(
            lambda v: model.update(v, discount), start, discount, tolerance
        )
    else:
        found = value_iteration(model.update, start, tolerance)
    return found, model.best_orders(found.values, discount or 1.0)


def _reach(model: Model, orders: Ints) -> tuple[int, int]:
    """The largest position after ordering and the largest order that a table reaches."""
    seen = np.zeros(model.shape, dtype=bool)
    frontier = np.zeros((1, len(model.shape)), dtype=np.int64)
    seen[tuple(frontier.T)] = True
    position = order = 0
    while len(frontier):
        q = orders[tuple(frontier.T)]
        position = max(position, int((frontier.sum(axis=1) + q).max()))
        order = max(order, int(q.max()))
        pipeline = np.concatenate((frontier[:, 1:], q[:, None]), axis=1)
        # leftovers 0, ..., x are all taken to be possible; that errs on the safe side
        count = frontier[:, 0] + 1
        row = np.repeat(np.arange(len(frontier)), count)
        leftover = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        after = pipeline[row]
        after[:, 0] = np.minimum(after[:, 0] + leftover, model.largest_stock)
        codes = np.unique(np.ravel_multi_index(tuple(after.T), model.shape))
        codes = codes[~seen.flat[codes]]
        seen.flat[codes] = True
        frontier = np.stack(np.unravel_index(codes, model.shape), axis=1)
    return position, order


def _solve_without_lead_time(
    scenario: SingleNode, discount: float | None, periods: int | None, tolerance: float
) -> Solution:
    """Lead time 0: the order can be sold at once; the table is that of the level ordered up to."""
    top, _ = _first_bounds(scenario)
    highest = 2 * top + 2
    model = Model(dataclasses.replace(scenario, lead_time=1), highest, 0)
    levels = np.arange(highest + 1)
    order = levels[None, :] - levels[:, None]
    ordering = np.where(
        order >= 0,
        scenario.unit_cost * order + scenario.fixed_order_cost * (order > 0),
        np.inf,
    )

    def totals(values: Floats, factor: float) -> Floats:
        return ordering + model.one_period + factor * (model.leaves @ values)

    def update(values: Floats) -> Floats:
        return np.asarray(totals(values, discount or 1.0).min(axis=1))

    values = np.zeros(highest + 1)
    if periods is not None:
        for _ in range(periods - 1):
            values = update(values)
        first = float(update(values)[0])
        found = Average(first, first, values)
    elif discount is not None:
        found = discounted_iteration(update, values, discount, tolerance)
    else:
        found = value_iteration(update, values, tolerance)
    table = np.argmin(totals(found.values, discount or 1.0), axis=1) - levels
    if int((levels + table)[0]) >= highest:
        raise ValueError("the bound on stock binds")
    policy = look_up(table[:, None], (0,), lambda seen: units(seen, "on_hand", 1), "on_hand")
    truncation = Truncation({"stock": highest}, found.error, "the level ordered up to is smaller")
    return Solution(found.cost, policy, truncation, {})


def _cost(scenario: SingleNode, rule: Rule, largest_stock: int, largest_order: int) -> float:
    _checked(scenario)
    if scenario.lead_time == 0:
        raise ValueError("rules are evaluated for lead times of one period and more")
    return Model(scenario, largest_stock, largest_order).chain(rule).average().cost


def base_stock_cost(scenario: SingleNode, order_up_to: Levels) -> float:
    """Order up to a level."""
    return capped_base_stock_cost(scenario, order_up_to, order_up_to)


def capped_base_stock_cost(scenario: SingleNode, order_up_to: Levels, cap: Levels) -> float:
    """Order up to a level, at most `cap` units at once (Xin 2021)."""
    level, most = whole("order_up_to", order_up_to, least=0), whole("cap", cap, least=0)
    return _cost(
        scenario,
        lambda states: np.clip(level - states.sum(axis=1), 0, most),
        level,
        min(most, level),
    )


def s_S_cost(scenario: SingleNode, reorder_point: Levels, order_up_to: Levels) -> float:
    """Order up to S when the position is at or below s."""
    return modified_s_S_cost(scenario, reorder_point, order_up_to, order_up_to)


def modified_s_S_cost(
    scenario: SingleNode, reorder_point: Levels, order_up_to: Levels, quantity: Levels
) -> float:
    """At or below s order up to S, at most q units (Bijvank, Bhulai & Huh 2015)."""
    s = whole("reorder_point", reorder_point)
    level, most = whole("order_up_to", order_up_to, least=0), whole("quantity", quantity, least=0)

    def rule(states: Ints) -> Ints:
        position = states.sum(axis=1)
        order = np.clip(level - position, 0, most)
        return np.asarray(np.where(position <= s, order, 0))

    return _cost(scenario, rule, level, min(most, level))


def r_Q_cost(scenario: SingleNode, reorder_point: Levels, quantity: Levels) -> float:
    """At or below r order the fewest lots of Q that lift the position above r."""
    r = whole("reorder_point", reorder_point, least=-1)
    lot = whole("quantity", quantity, least=1)

    def rule(states: Ints) -> Ints:
        position = states.sum(axis=1)
        lots = -((position - r - 1) // lot)
        return np.asarray(np.where(position <= r, lots * lot, 0))

    return _cost(scenario, rule, r + lot, r + lot)


def constant_order_cost(scenario: SingleNode, quantity: Levels) -> float:
    """Order the same every period; the lead time does not matter.

    Stock is a random walk with drift `quantity` - mean, which must be negative. It is cut at a
    level that is doubled until what exceeds it has less than 1e-12 of the probability.

    Raises:
        ValueError: if the quantity is so near the mean that `MOST_STOCK` units do not suffice.
    """
    _checked(scenario)
    lot = whole("quantity", quantity, least=0)
    if lot >= scenario.demand.mean:
        raise ValueError(f"quantity: must be below the mean demand {scenario.demand.mean}")
    alone = dataclasses.replace(scenario, lead_time=1)
    highest = 64
    while True:
        model = Model(alone, highest, lot)
        stock = np.minimum(np.arange(highest + 1) + lot, highest)
        matrix = np.zeros((highest + 1, highest + 1))
        np.add.at(matrix.T, stock, model.leaves.T)
        equations = matrix.T - np.eye(highest + 1)
        equations[0] = 1.0  # one of them is redundant
        share = np.linalg.solve(equations, np.eye(1, highest + 1)[0])
        if share[-lot - 2 :].sum() < 1e-12:
            break
        highest *= 2
        if highest > MOST_STOCK:
            raise ValueError(
                f"quantity: {lot} is too near the mean demand {scenario.demand.mean:g}; more than "
                f"{MOST_STOCK} units of stock would have to be followed"
            )
    return float(share @ model.one_period + model.ordering[lot])


def _myopic(scenario: SingleNode, looks_ahead: int) -> float:
    """Cost of a myopic rule; the bounds grow until the rule stays within them from empty on."""
    _checked(scenario)
    if scenario.lead_time == 0:
        raise ValueError("myopic rules are evaluated for lead times of one period and more")
    largest_stock, largest_order = _first_bounds(scenario)
    while True:
        model = Model(scenario, largest_stock, largest_order)
        orders = _myopic_orders(model, looks_ahead)
        position, order = _reach(model, orders)
        if position <= largest_stock and order < largest_order:
            break
        largest_stock = max(largest_stock, position)
        largest_order += 4 if order >= largest_order else 0
    return model.chain(lambda states: orders[tuple(states.T)]).average().cost


def _myopic_orders(model: Model, looks_ahead: int) -> Ints:
    total = model.cost_when_it_arrives()
    total = total + model.scenario.unit_cost * np.arange(model.largest_order + 1)
    if looks_ahead == 2:
        total = total + model.expected(total.min(axis=-1))
    least = total.min(axis=-1, keepdims=True)
    return np.asarray(np.argmax(total <= least + 1e-10 * np.abs(least), axis=-1))


def myopic_cost(scenario: SingleNode) -> float:
    """Minimise the expected cost of the period in which the order arrives (Morton 1971)."""
    return _myopic(scenario, 1)


def myopic_2_cost(scenario: SingleNode) -> float:
    """Minimise the costs of two such periods, the next order being myopic (Zipkin 2008)."""
    return _myopic(scenario, 2)


def newsvendor_cost(scenario: SingleNode, fractile: float | None = None) -> float:
    """Order up to the level that would be optimal with backorders (Zipkin 2008, Table 3).

    Args:
        scenario: the instance.
        fractile: of the demand over lead time and review, instead of the critical one.
    """
    level = fractile
    if level is None:
        level = _critical(scenario)
    elif not 0.0 < level < 1.0:
        raise ValueError(f"fractile: must lie between 0 and 1, got {fractile!r}")
    return base_stock_cost(scenario, quantile(scenario.demand, scenario.lead_time + 1, level))


RULES: dict[str, Callable[..., float]] = {
    "base_stock": base_stock_cost,
    "capped_base_stock": capped_base_stock_cost,
    "constant_order": constant_order_cost,
    "modified_s_S": modified_s_S_cost,
    "myopic": myopic_cost,
    "myopic_2": myopic_2_cost,
    "newsvendor": newsvendor_cost,
    "r_Q": r_Q_cost,
    "s_S": s_S_cost,
}
