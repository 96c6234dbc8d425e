"""Products that share a capacity: newsvendors under one limit, and a limit on hand plus inbound.

With lead time 0 and lost sales ordering up to the best levels of one period is feasible and optimal
in every period; the limit makes it a separable convex knapsack.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from stockyard.agents.oracles.demand import (
    Floats,
    Ints,
    fractile,
    frozen_law,
    joint,
    lumped,
    masses,
    newsvendor_cost,
)
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
from stockyard.envs.network.distributions import Distribution, Gamma, Normal
from stockyard.envs.textbook import SharedStock


def one_period_cost(scenario: SharedStock, levels: Sequence[float]) -> float:
    """Expected cost of one period with these levels before demand, USD."""
    return sum(
        newsvendor_cost(law, 1, y, h, p)
        for law, y, h, p in zip(
            scenario.demand, levels, scenario.holding_costs, scenario.penalty_costs, strict=True
        )
    )


def best_levels(scenario: SharedStock) -> tuple[tuple[float, ...], float]:
    """The best levels of one period under the limit, and the shadow price of the limit.

    Demand on whole units: dynamic programming over the products where volumes are whole, which for
    volumes of one is the greedy allocation by marginal values (Fox 1966). Continuous demand: the
    Lagrangian condition F_i(y_i) = (p_i - price v_i) / (h_i + p_i) (Hadley & Whitin 1963).

    Returns:
        Levels, units, and USD per ft3; the price is NaN for demand on whole units.
    """
    if not (np.array(scenario.volumes) > 0).all():
        raise ValueError("volumes: must be > 0 for the limit to bind every product")
    if all(law.is_integer for law in scenario.demand):
        return _whole_levels(scenario), float("nan")
    _check_continuous(scenario)
    return _continuous_levels(scenario)


def _check_continuous(scenario: SharedStock) -> None:
    """Refuses laws that the Lagrangian condition or the expected cost does not hold for."""
    if any(law.is_integer for law in scenario.demand):
        raise ValueError(
            "demand: the exact oracle takes laws all on whole units or all continuous, got "
            f"{scenario.demand!r}"
        )
    for law in scenario.demand:
        if not isinstance(law, Gamma) and not (isinstance(law, Normal) and law.sd > 0):
            raise ValueError(
                f"demand: the exact oracle knows Normal (sd > 0) and Gamma, got {law!r}"
            )


def _continuous_levels(scenario: SharedStock) -> tuple[tuple[float, ...], float]:
    h, p = np.array(scenario.holding_costs), np.array(scenario.penalty_costs)
    volume = np.array(scenario.volumes)
    laws = [frozen_law(law) for law in scenario.demand]

    def levels(price: float) -> Floats:
        ratio = np.clip((p - price * volume) / (h + p), 0.0, 1.0)
        found = [float(law.ppf(r)) for law, r in zip(laws, ratio, strict=True)]
        return np.maximum(found, 0.0)

    if not (h > 0).all():
        raise ValueError("holding_costs: must be > 0 for continuous demand")
    if levels(0.0) @ volume <= scenario.limit:
        return tuple(levels(0.0).tolist()), 0.0
    most = float((p / volume).max())
    price = float(
        optimize.brentq(lambda x: float(levels(x) @ volume) - scenario.limit, 0.0, most, xtol=1e-15)
    )
    return tuple(levels(price).tolist()), price


def _whole_levels(scenario: SharedStock) -> tuple[float, ...]:
    volumes = np.array(scenario.volumes)
    tops = [
        max(int(fractile(law, 1, p / (h + p))), 0) if h > 0 else masses(law).largest
        for law, h, p in zip(
            scenario.demand, scenario.holding_costs, scenario.penalty_costs, strict=True
        )
    ]
    costs = [
        h * masses(law, at_least=top).leftover(np.arange(top + 1))
        + p * masses(law, at_least=top).shortage(np.arange(top + 1))
        for law, top, h, p in zip(
            scenario.demand, tops, scenario.holding_costs, scenario.penalty_costs, strict=True
        )
    ]
    if (volumes == volumes[0]).all():
        return _greedy(costs, int(scenario.limit / volumes[0] + 1e-9))
    if not (volumes == np.rint(volumes)).all():
        raise ValueError("volumes: the exact oracle wants equal or whole ones")
    room = int(scenario.limit)
    best, choices = np.zeros(room + 1), []
    for cost, volume in zip(costs, volumes.astype(np.int64), strict=True):
        total = np.full((room + 1, len(cost)), np.inf)
        for y, paid in enumerate(cost):
            if y * volume <= room:
                total[y * volume :, y] = best[: room + 1 - y * volume] + paid
        choices.append(total.argmin(axis=1))
        best = total.min(axis=1)
    levels = []
    for choice, volume in zip(choices[::-1], volumes.astype(np.int64)[::-1], strict=True):
        levels.append(float(choice[room]))
        room -= int(choice[room] * volume)
    return tuple(levels[::-1])


def _greedy(costs: Sequence[Floats], room: int) -> tuple[float, ...]:
    gains = [np.append(cost[:-1] - cost[1:], -np.inf) for cost in costs]
    levels = [0] * len(costs)
    for _ in range(room):
        k = int(np.argmax([gain[y] for gain, y in zip(gains, levels, strict=True)]))
        if gains[k][levels[k]] <= 0:
            break
        levels[k] += 1
    return tuple(float(y) for y in levels)


def marginal_allocation(
    demand: Sequence[Distribution], unit_values: Sequence[float], units_in_all: int
) -> tuple[tuple[int, ...], float]:
    """Gives units one by one to whom the next is worth most: unit k to i is worth v_i P(D_i >= k).

    Returns:
        The allocation and its value, USD.
    """
    n = len(demand)
    scenario = SharedStock(
        tuple(demand),
        (0.0,) * n,
        tuple(unit_values),
        0,
        units_in_all,
        (1.0,) * n,
    )
    levels = _whole_levels(scenario)
    means = sum(v * law.mean for v, law in zip(unit_values, scenario.demand, strict=True))
    return tuple(int(y) for y in levels), means - one_period_cost(scenario, levels)


def process(scenario: SharedStock) -> tuple[DemandFirst, Ints]:
    """The decision process with lead time 1 and lost sales, and its states = actions (S, n)."""
    if scenario.lead_time != 1:
        raise ValueError(
            f"shared stock: exact for lead times 0 and 1, got lead_time {scenario.lead_time}"
        )
    volumes = np.array(scenario.volumes)
    if not (volumes > 0).all():
        raise ValueError("volumes: must be > 0 for the states to be finite")
    most = (scenario.limit / volumes + 1e-9).astype(np.int64)
    every = grid(most)
    states = every[every @ volumes <= scenario.limit + 1e-9]
    laws = [masses(law) for law in scenario.demand]
    outcomes, probability = joint(
        [lumped(law, int(top)) for law, top in zip(laws, most, strict=True)]
    )
    check_size(len(states) * max(len(outcomes), len(states)) * len(laws))
    number = np.full(most + 1, -1)
    number[tuple(states.T)] = np.arange(len(states))
    left = np.maximum(states[:, None, :] - outcomes, 0)
    allowed = (states[:, None, :] + states[None, :, :]) @ volumes <= scenario.limit + 1e-9
    after = np.where(allowed[:, :, None], states[:, None, :] + states[None, :, :], 0)
    successor = number[tuple(np.moveaxis(after, -1, 0))]
    leftover = leftover_matrix(number[tuple(np.moveaxis(left, -1, 0))], probability)
    cost = np.zeros(len(states))
    for k, law in enumerate(laws):
        cost += scenario.holding_costs[k] * law.leftover(states[:, k])
        cost += scenario.penalty_costs[k] * law.shortage(states[:, k])
    return DemandFirst(leftover, successor, np.where(allowed, cost[:, None], np.inf)), states


def solve(
    scenario: SharedStock,
    discount: float | None = None,
    periods: int | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The optimum: average cost, or the total from empty with `discount` or over `periods`."""
    n = len(scenario.demand)
    if scenario.lead_time == 0:
        levels, _ = best_levels(scenario)
        cost = one_period_cost(scenario, levels)
        if discount is not None or periods is not None:
            cost *= sum_of_discounts(discount, periods)

        def decide(observation: Observation) -> Floats:
            stock = np.asarray(observation["on_hand"], dtype=np.float64)
            return np.maximum(np.array(levels) - stock, 0.0)

        policy = ExactPolicy(decide, "on_hand")
        return Solution(cost, policy, EXACT, {"order_up_to": levels})
    model, states = process(scenario)
    found, best = model.solve(discount, periods, tolerance)
    most = states.max(axis=0)
    table = np.zeros((*(most + 1), n), dtype=np.int64)
    table[tuple(states.T)] = states[best]

    def read(observation: Observation) -> Ints:
        return units(observation, "on_hand", n)

    truncation = Truncation({}, found.error, "all states that the limit allows")
    return Solution(found.cost, look_up(table, (0,) * n, read, "on_hand"), truncation, {})


def base_stock_cost(scenario: SharedStock, order_up_to: Levels) -> float:
    """Each product is ordered up to its own level; the levels together must respect the limit."""
    is_whole = all(law.is_integer for law in scenario.demand)
    if not is_whole:
        _check_continuous(scenario)
    count = len(scenario.demand)
    levels = read_levels("order_up_to", order_up_to, count, whole_units=is_whole, least=0)
    if levels @ np.array(scenario.volumes) > scenario.limit + 1e-9:
        raise ValueError("order_up_to: exceeds the limit")
    if scenario.lead_time == 0:
        return one_period_cost(scenario, levels.tolist())
    model, states = process(scenario)
    number = {tuple(state): k for k, state in enumerate(states.tolist())}
    wanted = np.maximum(levels.astype(np.int64) - states, 0)
    # states above the levels are not reached; what is not numbered there is taken as no order
    return model.chain(np.array([number.get(tuple(q), 0) for q in wanted.tolist()])).average().cost


RULES = {"base_stock": base_stock_cost}
