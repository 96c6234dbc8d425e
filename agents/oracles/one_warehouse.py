"""One warehouse and its stores with lost sales, all lead times one period: exact, when tiny.

State: stock at the warehouse and at each store after today's arrivals. A decision orders for the
warehouse and sends units from its stock to the stores; both arrive next period. Stock at each place
is limited so that the states are finite; limits are raised until the policy, from empty, meets
none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stockyard.agents.heuristics.echelons import ALLOCATIONS, allocate
from stockyard.agents.oracles.demand import Ints, fractile, joint, lumped, masses
from stockyard.agents.oracles.dynamic_programming import (
    TOLERANCE,
    DemandFirst,
    check_size,
    grid,
    leftover_matrix,
)
from stockyard.agents.oracles.parameters import read_levels
from stockyard.agents.oracles.solution import (
    Observation,
    Solution,
    Truncation,
    look_up,
    units,
)
from stockyard.envs.textbook import OneWarehouse


def _check(scenario: OneWarehouse) -> None:
    leads = (scenario.warehouse_lead_time, *scenario.store_lead_times)
    if any(lead != 1 for lead in leads):
        raise ValueError(f"one warehouse: exact for lead times of one period only, got {leads}")
    if scenario.unmet != "lost":
        raise ValueError("one warehouse: exact for lost sales only")


def process(scenario: OneWarehouse, limits: Ints) -> tuple[DemandFirst, Ints, Ints]:
    """The decision process with stock limits (warehouse, store 1, ...).

    Returns:
        The process, its states (S, 1 + n) and its actions (A, 1 + n): the order, then the units
        sent to each store.
    """
    _check(scenario)
    laws = [masses(law) for law in scenario.demand]
    outcomes, probability = joint(
        [lumped(law, int(top)) for law, top in zip(laws, limits[1:], strict=True)]
    )
    states = grid(limits)
    actions = grid(limits)
    check_size(len(states) * max(len(outcomes), len(actions)) * len(limits))
    strides = np.concatenate((np.cumprod((limits + 1)[::-1])[::-1][1:], [1]))
    rest = states[:, None, 0] - actions[None, :, 1:].sum(axis=2)
    warehouse = rest + actions[None, :, 0]
    sold_down = np.maximum(states[:, None, 1:] - outcomes, 0)  # (S, W, n)
    allowed = (rest >= 0) & (warehouse <= limits[0])
    allowed &= (states[:, None, 1:] + actions[None, :, 1:] <= limits[1:]).all(axis=2)
    after = states[:, None, :] + actions[None, :, :]
    after[:, :, 0] = warehouse
    successor = np.where(allowed, after @ strides, 0)
    # the warehouse has no customers: it keeps what it had
    left = (states[:, 0] * strides[0])[:, None] + sold_down @ strides[1:]
    holding = np.array(scenario.store_holding_costs)
    penalty = np.array(scenario.penalty_costs)
    at_stores = np.zeros(len(states))
    for n, law in enumerate(laws):
        at_stores += holding[n] * law.leftover(states[:, n + 1])
        at_stores += penalty[n] * law.shortage(states[:, n + 1])
    cost = np.where(allowed, scenario.warehouse_holding_cost * rest + at_stores[:, None], np.inf)
    return DemandFirst(leftover_matrix(left, probability), successor, cost), states, actions


def solve(
    scenario: OneWarehouse,
    discount: float | None = None,
    periods: int | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The optimum: average cost, or the total from empty with `discount` or over `periods`."""
    _check(scenario)
    levels = []
    for law, h, p in zip(
        scenario.demand, scenario.store_holding_costs, scenario.penalty_costs, strict=True
    ):
        if not (h > 0 and p > 0):
            raise ValueError("holding and penalty costs: must be > 0 for an optimum to exist")
        levels.append(int(fractile(law, 1, p / (h + p))) + 1)
    limits = np.array([sum(levels) - len(levels) + 1, *levels])
    while True:
        model, states, actions = process(scenario, limits)
        found, best = model.solve(discount, periods, tolerance)
        reached = model.chain(best).states
        after = states[reached] + actions[best[reached]]
        after[:, 0] -= actions[best[reached]][:, 1:].sum(axis=1)
        binding = after.max(axis=0) >= limits
        if not binding.any():
            break
        limits = limits + binding
    table = actions[best].reshape(*(limits + 1), -1)
    n = len(limits)

    def read(observation: Observation) -> Ints:
        return units(observation, "on_hand", n)

    truncation = Truncation(
        {f"node_{k}": float(limit) for k, limit in enumerate(limits)},
        found.error,
        "the policy, from empty, meets no stock limit; the error is half the width of value "
        "iteration's bounds",
    )
    return Solution(found.cost, look_up(table, (0,) * n, read, "on_hand"), truncation, {})


def echelon_base_stock_cost(
    scenario: OneWarehouse,
    order_up_to: Sequence[float],
    allocation: str = "proportional",
    weights: Sequence[float] | None = None,
) -> float:
    """Order up to an echelon level, and fill the stores up to theirs.

    What the warehouse cannot send in full is shared by the heuristic's own function: a unit more or
    less at one store is another policy, and has another cost.

    Args:
        scenario: the instance.
        order_up_to: echelon levels, units; of the stores in turn, and the warehouse last.
        allocation: see `stockyard.agents.heuristics.echelons.echelon_base_stock`.
        weights: see there.
    """
    n = len(scenario.demand)
    levels = read_levels("order_up_to", order_up_to, n + 1, least=0, takes_scalar=False)
    if allocation not in ALLOCATIONS:
        raise ValueError(f"allocation: unknown {allocation!r}; known: {', '.join(ALLOCATIONS)}")
    if weights is not None and allocation != "weighted":
        raise ValueError('weights: need allocation="weighted"')
    lead_times = np.array(scenario.store_lead_times, dtype=np.float64)
    shares = np.array([law.sd for law in scenario.demand]) * np.sqrt(lead_times + 1.0)
    if weights is not None:
        shares = read_levels("weights", weights, n, whole_units=False, takes_scalar=False)
        if not (shares > 0).all():
            raise ValueError(f"weights: must be > 0, got {weights!r}")
    limits = np.roll(levels, 1).astype(np.int64)
    model, states, _ = process(scenario, limits)
    need = np.maximum(levels[:-1] - states[:, 1:], 0.0)
    stock = states[:, 0].astype(np.float64)
    sent = allocate(need, stock, allocation, shares, True).astype(np.int64)
    order = np.maximum(limits[0] - states.sum(axis=1), 0)
    # states beyond the warehouse's level are not reached; they are taken to do nothing
    fits = stock - sent.sum(axis=1) + order <= limits[0]
    action = np.where(fits[:, None], np.column_stack((order, sent)), 0)
    return model.chain(np.ravel_multi_index(tuple(action.T), tuple(limits + 1))).average().cost


RULES = {"echelon_base_stock": echelon_base_stock_cost}

__all__ = ["RULES", "process", "solve"]
