"""One node with backorders: the newsvendor, base stock, (s, S) and (r, Q), exact.

With backorders the cost of a period depends on the inventory position L periods before, so a lead
time L is a change of the one-period cost: G(y) = E[h (y - D)+ + p (D - y)+] with D the demand of
L + 1 periods (Karlin & Scarf 1958; Zipkin, Foundations of Inventory Management, 2000, section 9.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stockyard.agents.oracles.demand import (
    Floats,
    Ints,
    Masses,
    fractile,
    masses,
    newsvendor_cost,
)
from stockyard.agents.oracles.dynamic_programming import Process, explore
from stockyard.agents.oracles.parameters import Levels, read_levels, whole
from stockyard.agents.oracles.solution import (
    EXACT,
    ExactPolicy,
    Observation,
    Solution,
    Truncation,
)
from stockyard.envs.network.distributions import Distribution
from stockyard.envs.textbook import SingleNode


@dataclass(frozen=True)
class ReorderPolicy:
    """An (s, S) rule: at or below s, order up to S."""

    reorder_point: int
    order_up_to: int
    cost: float  # average per period, USD


def solve(scenario: SingleNode) -> Solution:
    """The optimal base stock, or with a fixed order cost the optimal (s, S)."""
    demand, periods = scenario.demand, scenario.lead_time + 1
    ratio = _ratio(scenario.holding_cost, scenario.penalty_cost)
    if scenario.fixed_order_cost > 0:
        best = reorder_policy(
            demand,
            scenario.lead_time,
            scenario.holding_cost,
            scenario.penalty_cost,
            scenario.fixed_order_cost,
        )
        s, level, cost = best.reorder_point, float(best.order_up_to), best.cost
        parameters: dict[str, float] = {"reorder_point": s, "order_up_to": best.order_up_to}
        law = masses(demand)
        error = scenario.penalty_cost * masses(demand, periods).tail_units
        truncation = Truncation({"demand": law.largest}, error, "tail of the demand law")

        def when(position: Floats) -> Floats:
            return np.where(position <= s, level - position, 0.0)

    else:
        level = fractile(demand, periods, ratio)
        cost = newsvendor_cost(demand, periods, level, scenario.holding_cost, scenario.penalty_cost)
        parameters = {"order_up_to": level}
        truncation = EXACT

        def when(position: Floats) -> Floats:
            return np.maximum(level - position, 0.0)

    def decide(observation: Observation) -> Floats:
        return when(np.asarray(observation["inventory_position"], dtype=np.float64))

    cost += scenario.unit_cost * demand.mean
    policy = ExactPolicy(decide, marker="inventory_position")
    return Solution(cost, policy, truncation, parameters)


def _ratio(holding_cost: float, penalty_cost: float) -> float:
    if not (holding_cost > 0 and penalty_cost > 0):
        raise ValueError("holding_cost, penalty_cost: both must be > 0 for an optimum to exist")
    return penalty_cost / (holding_cost + penalty_cost)


class _OnePeriod:
    """G at whole levels of any sign."""

    def __init__(self, law: Masses, holding_cost: float, penalty_cost: float) -> None:
        self._law, self._h, self._p = law, holding_cost, penalty_cost

    def __call__(self, level: int) -> float:
        leftover = float(self._law.leftover(max(level, 0)))
        return self._h * leftover + self._p * (self._law.mean - level + leftover)


def reorder_policy(
    demand: Distribution,
    lead_time: int,
    holding_cost: float,
    penalty_cost: float,
    fixed_order_cost: float,
) -> ReorderPolicy:
    """The optimal (s, S) with backorders, by the algorithm of Zheng & Federgruen 1991.

    Here s is the highest position that orders (at or below), as in their paper.

    Args:
        demand: on whole units, of one period.
        lead_time: periods; 0 delivers before the demand of the same period.
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit owed at the end of a period.
        fixed_order_cost: USD per order.

    References:
        Zheng & Federgruen, Finding optimal (s, S) policies is about as simple as evaluating a
        single policy, Operations Research 39, 1991, p. 654-665.
    """
    ratio = _ratio(holding_cost, penalty_cost)
    law = masses(demand)
    if law.p[0] >= 1.0:
        raise ValueError("demand: there is none")
    one_period = _OnePeriod(masses(demand, lead_time + 1), holding_cost, penalty_cost)
    renewals = _Renewals(law)

    def average(s: int, order_up_to: int) -> float:
        n = order_up_to - s
        density, total = renewals(n)
        spent = sum(float(density[j]) * one_period(order_up_to - j) for j in range(n))
        return (fixed_order_cost + spent) / total

    lowest = int(fractile(demand, lead_time + 1, ratio))
    # step 0: the best s for S at the minimum of G, then S up as long as G is below the record
    s, up_to = lowest - 1, lowest
    while average(s, up_to) > one_period(s):
        s -= 1
    record = average(s, up_to)
    candidate = up_to + 1
    while one_period(candidate) <= record:
        if average(s, candidate) < record:
            up_to = candidate
            while average(s, up_to) <= one_period(s + 1):
                s += 1
            record = average(s, up_to)
        candidate += 1
    return ReorderPolicy(s, up_to, record)


class _Renewals:
    """Renewal density of the demand: expected visits to S - j in a cycle, and their sums."""

    def __init__(self, law: Masses) -> None:
        self._p = law.p
        self._density = [1.0 / (1.0 - float(law.p[0]))]

    def __call__(self, n: int) -> tuple[list[float], float]:
        while len(self._density) < n:
            j = len(self._density)
            reach = min(j, len(self._p) - 1)
            before = np.array(self._density[j - reach : j][::-1])
            self._density.append(float(self._p[1 : reach + 1] @ before) * self._density[0])
        return self._density, sum(self._density[:n])


def base_stock_cost(scenario: SingleNode, order_up_to: Levels) -> float:
    """Average cost of ordering up to a level; with a fixed cost, paid when there was demand."""
    periods = scenario.lead_time + 1
    is_whole = scenario.demand.is_integer
    level = float(read_levels("order_up_to", order_up_to, 1, whole_units=is_whole)[0])
    cost = newsvendor_cost(
        scenario.demand, periods, level, scenario.holding_cost, scenario.penalty_cost
    )
    cost += scenario.unit_cost * scenario.demand.mean
    if scenario.fixed_order_cost > 0:
        orders = 1.0
        if scenario.demand.is_integer:
            orders -= float(masses(scenario.demand).p[0])
        cost += scenario.fixed_order_cost * orders
    return cost


def _position_chain_cost(
    scenario: SingleNode, lowest: int, highest: int, order: Ints, above: Ints
) -> float:
    """Average cost of a rule on the inventory position.

    Args:
        scenario: the instance.
        lowest: the smallest position of the table.
        highest: the largest.
        order: units ordered at each position of the table.
        above: the position from which the chain starts.
    """
    law = masses(scenario.demand)
    g = _OnePeriod(
        masses(scenario.demand, scenario.lead_time + 1),
        scenario.holding_cost,
        scenario.penalty_cost,
    )
    after_order = np.arange(lowest, highest + 1) + order
    cost = np.array([g(int(y)) for y in after_order])
    cost += scenario.fixed_order_cost * (order > 0)
    demands = np.arange(len(law.p))

    def step(codes: Ints) -> tuple[Ints, Floats]:
        after = after_order[codes][:, None] - demands - lowest
        return after, np.broadcast_to(law.p, after.shape)

    chain = explore(step, lambda codes: cost[codes], above - lowest, len(order))
    return chain.average().cost + scenario.unit_cost * scenario.demand.mean


def s_S_cost(scenario: SingleNode, reorder_point: Levels, order_up_to: Levels) -> float:
    """Average cost of ordering up to S at or below s."""
    s, level = whole("reorder_point", reorder_point), whole("order_up_to", order_up_to)
    if not level > s:
        raise ValueError("order_up_to: must exceed reorder_point")
    lowest = s - masses(scenario.demand).largest
    positions = np.arange(lowest, level + 1)
    order = np.where(positions <= s, level - positions, 0)
    return _position_chain_cost(scenario, lowest, level, order, np.array([level]))


def r_Q_cost(scenario: SingleNode, reorder_point: Levels, quantity: Levels) -> float:
    """Average cost of ordering at or below r the fewest lots of Q that lift the position above."""
    r, lot = whole("reorder_point", reorder_point), whole("quantity", quantity, least=1)
    lowest, highest = r - masses(scenario.demand).largest, r + lot
    positions = np.arange(lowest, highest + 1)
    lots = np.maximum(-((positions - r - 1) // lot), 0)
    order = np.where(positions <= r, lots * lot, 0)
    return _position_chain_cost(scenario, lowest, highest, order, np.array([highest]))


def position_process(scenario: SingleNode, lowest: int, highest: int) -> Process:
    """The problem as a Markov decision process on a range of positions, to check the rest."""
    law = masses(scenario.demand)
    g = _OnePeriod(
        masses(scenario.demand, scenario.lead_time + 1),
        scenario.holding_cost,
        scenario.penalty_cost,
    )
    positions = np.arange(lowest, highest + 1)
    level = np.array([g(int(y)) for y in positions])
    # the action is the level that is ordered up to
    cost = np.where(
        positions[None, :] >= positions[:, None],
        level[None, :] + scenario.fixed_order_cost * (positions[None, :] > positions[:, None]),
        np.inf,
    )
    after = np.clip(positions[:, None] - np.arange(len(law.p)) - lowest, 0, None)
    successor = np.broadcast_to(after, (len(positions), *after.shape))
    return Process(successor, law.p, cost)


RULES: dict[str, Callable[..., float]] = {
    "base_stock": base_stock_cost,
    "r_Q": r_Q_cost,
    "s_S": s_S_cost,
}
