"""Locations that serve each other's customers: placement, spillover, transshipment.

With lead time 0 ordering up to the levels that are best for one period is optimal for any number of
periods: an order costs nothing, and no level is ever exceeded. With all locations serving all
regions the units lost are (D - X)+ of the totals, so the cost of levels x is

    h E(X - D)+ + p E(D - X)+ + cross (E sum_i (D_i - x_i)+ - E(D - X)+)
        + local E sum_i min(x_i, D_i)

which for a given X is separable and convex in x: the best split takes unit by unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stockyard.agents.oracles.demand import Floats, Ints, Masses, fractile, joint, lumped, masses
from stockyard.agents.oracles.dynamic_programming import (
    TOLERANCE,
    DemandFirst,
    check_size,
    grid,
    leftover_matrix,
    sum_of_discounts,
)
from stockyard.agents.oracles.parameters import Levels, read_levels
from stockyard.agents.oracles.solution import (
    EXACT,
    ExactPolicy,
    Observation,
    Solution,
    Truncation,
    look_up,
    units,
)
from stockyard.envs.network.distributions import Distribution
from stockyard.envs.textbook import Locations


class OnePeriod:
    """The cost of one period at given levels before demand."""

    def __init__(
        self,
        demand: Sequence[Distribution],
        holding_cost: float,
        penalty_cost: float,
        local_cost: float,
        cross_cost: float,
        spills: bool = True,
    ) -> None:
        """Takes the laws; costs in USD per unit left, unmet, served locally, served across."""
        self.laws = [masses(law) for law in demand]
        total = self.laws[0].p
        for law in self.laws[1:]:
            total = np.convolve(total, law.p)
        mean = sum(law.mean for law in self.laws)
        self.total = Masses(total, mean, sum(law.tail_units for law in self.laws))
        self.holding_cost, self.penalty_cost = holding_cost, penalty_cost
        self.local_cost, self.cross_cost, self.spills = local_cost, cross_cost, spills

    def __call__(self, levels: Sequence[int]) -> float:
        """USD, expected."""
        left = sum(float(law.leftover(x)) for law, x in zip(self.laws, levels, strict=True))
        short = sum(float(law.shortage(x)) for law, x in zip(self.laws, levels, strict=True))
        cost = self.local_cost * (self.total.mean - short)
        if not self.spills:
            return cost + self.holding_cost * left + self.penalty_cost * short
        lost = float(self.total.shortage(sum(levels)))
        kept = float(self.total.leftover(sum(levels)))
        cost += self.cross_cost * (short - lost)
        return cost + self.holding_cost * kept + self.penalty_cost * lost

    def best_split(self, units_in_all: int, limit: int | None = None) -> tuple[int, ...]:
        """The best levels of a given sum: each unit goes where local demand most likely wants it.

        Among equals it goes to the first.
        """
        levels = [0] * len(self.laws)
        gains = [1.0 - np.cumsum(law.p) for law in self.laws]
        for _ in range(units_in_all):
            worth = [
                (gain[x] if x < len(gain) else 0.0) if limit is None or x < limit else -1.0
                for gain, x in zip(gains, levels, strict=True)
            ]
            levels[int(np.argmax(worth))] += 1
        return tuple(levels)

    def best(self, limit: int | None = None) -> tuple[tuple[int, ...], float]:
        """The best levels and their cost."""
        if not self.spills:
            value = self.penalty_cost - self.local_cost
            if self.holding_cost + value <= 0:
                return (0,) * len(self.laws), self((0,) * len(self.laws))
            ratio = max(value, 0.0) / (self.holding_cost + value)
            chosen = [int(np.searchsorted(np.cumsum(law.p), ratio - 1e-12)) for law in self.laws]
            levels = tuple(min(x, limit) if limit is not None else x for x in chosen)
            return levels, self(levels)
        most = len(self.total.p) if limit is None else min(limit * len(self.laws), 10**6)
        best_levels, best_cost, worse = (0,) * len(self.laws), self((0,) * len(self.laws)), 0
        for count in range(1, most + 1):
            levels = self.best_split(count, limit)
            cost = self(levels)
            if cost < best_cost - 1e-12:
                best_levels, best_cost, worse = levels, cost, 0
            else:
                worse += 1
                if worse > 3:  # convex in the total
                    break
        return best_levels, best_cost


def fixed_lot_split(
    demand: Sequence[Distribution],
    units_in_all: int,
    local_cost: float,
    cross_cost: float,
    penalty_cost: float,
) -> tuple[tuple[int, ...], float]:
    """The best split of a lot between locations for one period, and its expected cost."""
    period = OnePeriod(demand, 0.0, penalty_cost, local_cost, cross_cost)
    levels = period.best_split(units_in_all)
    return levels, period(levels)


def one_period(scenario: Locations) -> OnePeriod:
    """The one-period cost of a scenario."""
    if scenario.unmet == "backorder" and scenario.local_cost > 0:
        raise ValueError("local_cost: the exact oracle knows it with lost sales only")
    return OnePeriod(
        scenario.demand,
        scenario.holding_cost,
        scenario.penalty_cost,
        scenario.local_cost,
        scenario.cross_cost,
        scenario.spills,
    )


def _limit(scenario: Locations) -> int | None:
    return None if scenario.stock_limit is None else int(scenario.stock_limit)


def process(scenario: Locations, limit: int) -> tuple[DemandFirst, Ints]:
    """The decision process of two locations with lead time 1, lost sales.

    Args:
        scenario: the instance.
        limit: units on hand and ordered at each location.

    Returns:
        The process, and its states and actions (S, 2): stock before demand, and orders.
    """
    if len(scenario.demand) > 2:
        raise ValueError("locations: with a lead time the exact oracle takes two at most")
    # a demand above all stock is as good as one that takes it all
    laws = [lumped(masses(law), len(scenario.demand) * limit) for law in scenario.demand]
    outcomes, probability = joint(laws)
    states = grid(np.array([limit] * len(laws)))
    check_size(len(states) * max(len(outcomes), len(states)))
    left = np.maximum(states[:, None, :] - outcomes, 0)  # (S, W, n)
    short = np.maximum(outcomes - states[:, None, :], 0)
    if scenario.spills and len(laws) == 2:
        sent = np.minimum(left, short[..., ::-1])  # to the other region
        left, short = left - sent, short - sent[..., ::-1]
    # the expected cost does not rest on the cut of the demand
    period = one_period(scenario)
    cost = np.array([period(tuple(state)) for state in states.tolist()])
    allowed = (states[:, None, :] + states[None, :, :] <= limit).all(axis=2)
    strides = (limit + 1) ** np.arange(len(laws))[::-1]
    code = states @ strides
    successor = np.where(allowed, code[:, None] + code, 0)
    leftover = leftover_matrix(left @ strides, probability)
    return DemandFirst(leftover, successor, np.where(allowed, cost[:, None], np.inf)), states


def solve(
    scenario: Locations,
    discount: float | None = None,
    periods: int | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The optimum: average cost, or the total from empty with `discount` or over `periods`."""
    n = len(scenario.demand)
    if scenario.lead_time == 0:
        levels, cost = one_period(scenario).best(_limit(scenario))
        if discount is not None or periods is not None:
            cost *= sum_of_discounts(discount, periods)

        def decide(observation: Observation) -> Floats:
            stock = units(observation, "on_hand", n) - units(observation, "backlog_by_region", n)
            # with backorders a location may owe its region and hold nothing: levels are net
            return np.asarray(np.maximum(np.array(levels) - stock, 0), dtype=np.float64)

        policy = ExactPolicy(decide, "on_hand")
        return Solution(cost, policy, EXACT, {"order_up_to": levels})
    if scenario.lead_time != 1 or scenario.unmet != "lost":
        raise ValueError("locations: exact for lead time 0, or lead time 1 with lost sales")
    limit = _limit(scenario)
    if limit is None:
        _check_costs(scenario)
    top = limit if limit is not None else _first_limit(scenario)
    while True:
        model, states = process(scenario, top)
        found, best = model.solve(discount, periods, tolerance)
        reached = model.chain(best).states
        highest = int((states[reached] + states[best[reached]]).max())
        if limit is not None or highest < top:
            break
        top += 2

    def read(observation: Observation) -> Ints:
        return units(observation, "on_hand", n)

    table = states[best].reshape(*(top + 1,) * n, n)
    truncation = Truncation(
        {"stock_and_order": top},
        found.error,
        "the instance's own limit"
        if limit is not None
        else "the policy, from empty, stays below the bound",
    )
    return Solution(found.cost, look_up(table, (0,) * n, read, "on_hand"), truncation, {})


def _check_costs(scenario: Locations) -> None:
    if not (scenario.holding_cost > 0 and scenario.penalty_cost > 0):
        raise ValueError(
            "holding_cost, penalty_cost: both must be > 0 for an optimum to exist without a "
            "stock_limit"
        )


def _first_limit(scenario: Locations) -> int:
    ratio = scenario.penalty_cost / (scenario.holding_cost + scenario.penalty_cost)
    return max(int(fractile(law, 2, ratio)) for law in scenario.demand) + 1


def base_stock_cost(scenario: Locations, order_up_to: Levels) -> float:
    """Each location orders up to its own level."""
    count = len(scenario.demand)
    levels = read_levels("order_up_to", order_up_to, count, least=0).astype(np.int64)
    limit = _limit(scenario)
    if limit is not None and levels.max() > limit:
        raise ValueError(f"order_up_to: exceeds the stock limit {limit}")
    if scenario.lead_time == 0:
        return one_period(scenario)(tuple(levels.tolist()))
    if scenario.lead_time != 1 or scenario.unmet != "lost":
        raise ValueError("locations: exact for lead time 0, or lead time 1 with lost sales")
    top = int(levels.max())
    model, states = process(scenario, top)
    wanted = np.maximum(levels - states, 0)
    return model.chain(wanted @ (top + 1) ** np.arange(len(levels))[::-1]).average().cost


RULES = {"base_stock": base_stock_cost}
