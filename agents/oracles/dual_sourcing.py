"""Two suppliers with backorders: the optimum, and the exact cost of the classical rules.

What an expedited order cannot change any more is left out: with I the expedited position (net stock
after today's arrivals plus what arrives within the expedited lead time l_e) and z_1, z_2, ... the
regular orders that arrive later, a period costs c_e q_e + c_r q_r + G(I + q_e), where G is the
expected holding and penalty cost of the period l_e from now, and I becomes I + q_e - D + z_1
(Sheopuri, Janakiraman & Seshadri 2010). Only y = I + q_e matters after the order, so the best q_e
of every state is a running minimum over y.

Truncation: I lies between two bounds, regular orders below a third; what exceeds a bound is moved
to it. The result is accepted if the policy, from zero, comes to no bound with any probability
(with demand cut at 1e-13, see `demand`), else the bounds are enlarged.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np

from stockyard.agents.oracles.demand import Floats, Ints, fractile, masses
from stockyard.agents.oracles.dynamic_programming import (
    TOLERANCE,
    Chain,
    check_size,
    discounted_iteration,
    explore,
    value_iteration,
)
from stockyard.agents.oracles.parameters import whole
from stockyard.agents.oracles.solution import (
    ExactPolicy,
    Observation,
    Solution,
    Truncation,
    units,
)
from stockyard.envs.textbook import DualSourcing

Rule = Callable[[Ints], tuple[Ints, Ints]]
"""States (n, 1 + slots) of (I, z_1, ...) to expedited and regular orders (n,)."""

EDGE_SHARE = 1e-12
"""Long-run share of time that a rule may spend at a bound of the table."""


class Model:
    """The tables of one instance between bounds on I and on regular orders."""

    def __init__(self, scenario: DualSourcing, lowest: int, highest: int, largest: int) -> None:
        """Tabulates one period.

        Args:
            scenario: the instance, demand on whole units, suppliers of different lead times.
            lowest: the smallest I, units.
            highest: the largest I and I + q_e, units.
            largest: the largest regular order, units.
        """
        self.scenario, self.largest = scenario, largest
        self.lowest, self.highest = lowest, highest
        self.slots = scenario.regular_lead_time - scenario.expedited_lead_time - 1
        self.positions = np.arange(lowest, highest + 1)
        self.shape = (len(self.positions),) + (largest + 1,) * self.slots
        check_size((len(self.positions) + largest) * (largest + 1) ** self.slots)
        self.law = masses(scenario.demand)
        late = masses(scenario.demand, scenario.expedited_lead_time + 1, max(highest, 0))
        leftover = late.leftover(np.maximum(self.positions, 0))
        shortage = late.mean - self.positions + leftover
        self.one_period = scenario.holding_cost * leftover + scenario.penalty_cost * shortage

    def _after_demand(self, values: Floats, discount: float) -> Floats:
        """E of the values at w - D for w = lowest, ..., highest + largest."""
        wide = np.arange(len(self.positions) + self.largest)
        mean = np.zeros((len(wide), *values.shape[1:]))
        for d, p in enumerate(self.law.p):
            if p > 0:
                mean += p * values[np.clip(wide - d, 0, len(self.positions) - 1)]
        return discount * mean

    def _regular(self, values: Floats, discount: float) -> tuple[Floats, Ints]:
        """Values after the best regular order, and that order: axes y, z_1, ..."""
        cost = self.scenario.regular_cost * np.arange(self.largest + 1)
        after = self._after_demand(values, discount)
        y = np.arange(len(self.positions))
        if self.slots == 0:
            total = after[y[:, None] + np.arange(self.largest + 1)] + cost
            order = total.argmin(axis=1)
            return np.asarray(np.take_along_axis(total, order[:, None], 1)[:, 0]), order
        total = after + cost
        order = total.argmin(axis=-1)
        least = np.take_along_axis(total, order[..., None], -1)[..., 0]
        level = y[:, None] + np.arange(self.largest + 1)
        return np.asarray(least[level]), order[level]

    def _levels(self, values: Floats, discount: float) -> Floats:
        """Cost of having ordered up to y, c_e y included: axes y, z_1, ..."""
        own = self.one_period + self.scenario.expedited_cost * self.positions
        regular, _ = self._regular(values, discount)
        return regular + own.reshape((-1,) + (1,) * (regular.ndim - 1))

    def update(self, values: Floats, discount: float = 1.0) -> Floats:
        """One step of value iteration."""
        level = self._levels(values, discount)
        best = np.minimum.accumulate(level[::-1], axis=0)[::-1]
        paid = self.scenario.expedited_cost * self.positions
        return np.asarray(best - paid.reshape((-1,) + (1,) * (best.ndim - 1)))

    def orders(self, values: Floats, discount: float = 1.0) -> tuple[Ints, Ints]:
        """The best expedited and regular orders, one table each; among equals expedite less."""
        level = self._levels(values, discount)
        least = np.minimum.accumulate(level[::-1], axis=0)[::-1]
        at_best = level <= least + 1e-9 * np.maximum(np.abs(least), 1.0)
        own = np.arange(len(self.positions)).reshape((-1,) + (1,) * (level.ndim - 1))
        where = np.where(at_best, own, len(self.positions))
        up_to = np.minimum.accumulate(where[::-1], axis=0)[::-1]
        _, regular = self._regular(values, discount)
        return up_to - own, np.take_along_axis(regular, up_to, axis=0)

    def chain(self, rule: Rule) -> Chain:
        """The chain of a rule from I = 0 and nothing under way; I is held within the bounds."""
        size = (len(self.positions), *(self.largest + 1,) * self.slots)
        scenario = self.scenario

        def ordered(codes: Ints) -> tuple[Ints, Ints, Ints]:
            states = np.stack(np.unravel_index(codes, size), axis=1)
            states[:, 0] += self.lowest
            expedited, regular = rule(states)
            if regular.max(initial=0) > self.largest:
                raise ValueError(f"a regular order exceeds {self.largest} units")
            return states, expedited, regular

        def step(codes: Ints) -> tuple[Ints, Floats]:
            states, expedited, regular = ordered(codes)
            pipeline = np.concatenate((states[:, 1:], regular[:, None]), axis=1)
            level = states[:, 0] + expedited + pipeline[:, 0] - self.lowest
            after = np.clip(level[:, None] - np.arange(len(self.law.p)), 0, size[0] - 1)
            rest = np.zeros(len(codes), dtype=np.int64)
            for z in range(1, pipeline.shape[1]):
                rest = rest * (self.largest + 1) + pipeline[:, z]
            return after * (self.largest + 1) ** self.slots + rest[:, None], np.broadcast_to(
                self.law.p, after.shape
            )

        def cost(codes: Ints) -> Floats:
            states, expedited, regular = ordered(codes)
            y = np.clip(states[:, 0] + expedited - self.lowest, 0, size[0] - 1)
            purchases = scenario.expedited_cost * expedited + scenario.regular_cost * regular
            return np.asarray(purchases + self.one_period[y])

        start = np.array([-self.lowest * (self.largest + 1) ** self.slots])
        return explore(step, cost, start, int(np.prod(size)))

    def edge_share(self, chain: Chain) -> float:
        """Long-run share of time with I at a bound."""
        position = chain.states // (self.largest + 1) ** self.slots
        at_edge = (position == 0) | (position == len(self.positions) - 1)
        if not at_edge.any():
            return 0.0
        return float(chain.stationary()[at_edge].sum())


def _first_bounds(scenario: DualSourcing) -> tuple[int, int, int]:
    if not scenario.demand.is_integer:
        raise ValueError(
            "dual sourcing: with demand that is not on whole units the state is continuous and no "
            f"exact oracle exists, got {scenario.demand!r}"
        )
    if not (scenario.holding_cost > 0 and scenario.penalty_cost > 0):
        raise ValueError("holding_cost, penalty_cost: both must be > 0 for an optimum to exist")
    ratio = scenario.penalty_cost / (scenario.holding_cost + scenario.penalty_cost)
    largest = int(fractile(scenario.demand, 1, max(ratio, 0.99))) + 2
    lowest = -masses(scenario.demand).largest - 2
    cover = scenario.regular_lead_time - scenario.expedited_lead_time + 1
    return lowest, int(fractile(scenario.demand, cover, ratio)) + largest, largest


def solve(
    scenario: DualSourcing,
    discount: float | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The optimum: average cost, or with `discount` the total from I = 0 and nothing under way.

    Discounted totals exist for an expedited lead time of 0 only: else G falls due later than the
    order that causes it.
    """
    if discount is not None and scenario.expedited_lead_time > 0:
        raise ValueError("discount: only with an expedited lead time of 0")
    if scenario.regular_lead_time == scenario.expedited_lead_time:
        return _solve_single(scenario, discount)
    lowest, highest, largest = _first_bounds(scenario)
    for _ in range(12):
        model = Model(scenario, lowest, highest, largest)
        start = np.zeros(model.shape)
        if discount is None:
            found = value_iteration(model.update, start, tolerance)
        else:
            update = functools.partial(model.update, discount=discount)
            found = discounted_iteration(update, start, discount, tolerance)
        expedited, regular = model.orders(found.values, discount or 1.0)
        chain = model.chain(_tabled(model, expedited, regular))
        states = np.unravel_index(chain.states, model.shape)
        low, high = int(states[0].min()) == 0, int(states[0].max()) == len(model.positions) - 1
        order = int(regular[states].max()) >= largest
        if not (low or high or order):
            break
        lowest -= 5 if low else 0
        highest += 5 if high else 0
        largest += 2 if order else 0
    else:
        raise ValueError("the bounds on stock and orders still bind after twelve enlargements")
    truncation = Truncation(
        {"lowest": lowest, "highest": highest, "regular_order": largest},
        found.error,
        "the policy reaches no bound; the error is half the width of value iteration's bounds",
    )
    cost = found.cost
    if discount is not None:
        at = (-lowest, *(0,) * model.slots)
        cost = float(found.values[at])
    return Solution(cost, _policy(model, expedited, regular), truncation, {})


def _tabled(model: Model, expedited: Ints, regular: Ints) -> Rule:
    def rule(states: Ints) -> tuple[Ints, Ints]:
        index = (states[:, 0] - model.lowest, *states.T[1:])
        return expedited[index], regular[index]

    return rule


def _policy(model: Model, expedited: Ints, regular: Ints) -> ExactPolicy:
    scenario = model.scenario
    near = scenario.expedited_lead_time
    bounds = np.array(model.shape) - 1

    def decide(observation: Observation) -> Floats:
        net = units(observation, "on_hand", 1)[:, 0] - units(observation, "backlog", 1)[:, 0]
        quoted = units(observation, "on_order_quoted", scenario.regular_lead_time - 1)
        position = net + quoted[:, :near].sum(axis=1) - model.lowest
        index = np.column_stack((position, quoted[:, near:]))
        at = tuple(np.clip(index, 0, bounds).T)
        # below the table the expedited order makes up the difference
        deficit = np.maximum(-position, 0)
        return np.stack((regular[at], expedited[at] + deficit), axis=1)[:, None, :].astype(
            np.float64
        )

    return ExactPolicy(decide, "on_hand")


def _solve_single(scenario: DualSourcing, discount: float | None) -> Solution:
    """Equal lead times: the cheaper supplier alone, up to the newsvendor's level."""
    if discount is not None:
        raise ValueError("discount: not for suppliers of equal lead times")
    from stockyard.agents.oracles import backorders
    from stockyard.envs.textbook import SingleNode

    cheapest = min(scenario.regular_cost, scenario.expedited_cost)
    single = SingleNode(
        scenario.demand,
        scenario.regular_lead_time,
        scenario.holding_cost,
        scenario.penalty_cost,
        unit_cost=cheapest,
        unmet="backorder",
    )
    found = backorders.solve(single)
    lane = 0 if scenario.regular_cost == cheapest else 1

    def decide(observation: Observation) -> Floats:
        order, _ = found.policy.predict(observation)
        both = np.zeros((len(order), 1, 2))
        both[:, 0, lane] = order[:, 0]
        return both

    policy = ExactPolicy(decide, "inventory_position")
    return Solution(found.cost, policy, found.truncation, found.parameters)


def _cost(scenario: DualSourcing, rule: Rule, largest: int) -> float:
    if scenario.regular_lead_time <= scenario.expedited_lead_time:
        raise ValueError("regular_lead_time: must exceed expedited_lead_time")
    lowest, highest, least = _first_bounds(scenario)
    for _ in range(8):
        model = Model(scenario, lowest, highest, max(largest, least))
        chain = model.chain(rule)
        if model.edge_share(chain) <= EDGE_SHARE:
            return chain.average().cost
        lowest, highest = 2 * lowest, 2 * highest
    raise ValueError("the rule does not keep the stock within bounds")


def _dual_index(
    scenario: DualSourcing, expedited_order_up_to: float, regular_order_up_to: float, cap: int
) -> float:
    fast = whole("expedited_order_up_to", expedited_order_up_to)
    slow = whole("regular_order_up_to", regular_order_up_to)

    def rule(states: Ints) -> tuple[Ints, Ints]:
        expedited = np.maximum(fast - states[:, 0], 0)
        regular = np.maximum(slow - states.sum(axis=1) - expedited, 0)
        return expedited, np.minimum(regular, cap)

    return _cost(scenario, rule, cap)


def capped_dual_index_cost(
    scenario: DualSourcing, expedited_order_up_to: float, regular_order_up_to: float, cap: float
) -> float:
    """Dual index with regular orders of at most `cap` units (Sun & Van Mieghem 2019)."""
    most = whole("cap", cap, least=0)
    return _dual_index(scenario, expedited_order_up_to, regular_order_up_to, most)


def dual_index_cost(
    scenario: DualSourcing, expedited_order_up_to: float, regular_order_up_to: float
) -> float:
    """Expedite up to S_e on I, then order up to S_r on the whole position (Veeraraghavan 2008).

    Veeraraghavan & Scheller-Wolf, Now or later, Operations Research 56, 2008.
    """
    fast = whole("expedited_order_up_to", expedited_order_up_to)
    slow = whole("regular_order_up_to", regular_order_up_to)
    # the position is S_e at least when the regular order is decided: no cap above that binds
    return _dual_index(scenario, fast, slow, max(slow - fast, 0))


def single_index_cost(
    scenario: DualSourcing, order_up_to: float, expedited_order_up_to: float | None = None
) -> float:
    """Both orders look at the whole position (Scheller-Wolf, Veeraraghavan & van Houtum 2007).

    Args:
        scenario: the instance.
        order_up_to: S_r, units.
        expedited_order_up_to: S_e, units, at most S_r; None: nothing is expedited.
    """
    level = whole("order_up_to", order_up_to)
    if expedited_order_up_to is None:
        most = max(masses(scenario.demand).largest, level)  # a period's demand, or the first order

        def regular_only(states: Ints) -> tuple[Ints, Ints]:
            order = np.clip(level - states.sum(axis=1), 0, most)
            return np.zeros_like(order), order

        return _cost(scenario, regular_only, most)
    fast = whole("expedited_order_up_to", expedited_order_up_to)
    if fast > level:
        raise ValueError(f"expedited_order_up_to: must be at most order_up_to, got {fast}")

    def rule(states: Ints) -> tuple[Ints, Ints]:
        position = states.sum(axis=1)
        expedited = np.maximum(fast - position, 0)
        return expedited, np.maximum(level - position - expedited, 0)

    return _cost(scenario, rule, level - fast)


def tailored_base_surge_cost(
    scenario: DualSourcing, expedited_order_up_to: float, quantity: float
) -> float:
    """A constant regular order, and expediting up to S_e (Allon & Van Mieghem 2010)."""
    fast, lot = whole("expedited_order_up_to", expedited_order_up_to), whole("quantity", quantity)
    if not 0 <= lot < scenario.demand.mean:
        raise ValueError(f"quantity: must be >= 0 and below the mean demand {scenario.demand.mean}")

    def rule(states: Ints) -> tuple[Ints, Ints]:
        return np.maximum(fast - states[:, 0], 0), np.full(len(states), lot)

    return _cost(scenario, rule, lot)


def best_parameters(scenario: DualSourcing, name: str) -> tuple[dict[str, int], float]:
    """The best whole parameters of a rule, by exhaustion of a box and descent from its best point.

    The box reaches from nothing to the newsvendor level of the regular lead time, caps to the
    largest regular order worth considering; the descent leaves it where its edge is best.

    Returns:
        The parameters, and their average cost.
    """
    cost = RULES[name]
    box = _box(scenario, name)
    known: dict[tuple[int, ...], float] = {}

    def value(at: tuple[int, ...]) -> float:
        if at not in known:
            try:
                known[at] = cost(scenario, **dict(zip(box, at, strict=True)))
            except ValueError:  # outside the rule's range
                known[at] = np.inf
        return known[at]

    here = min(itertools.product(*box.values()), key=value)
    while True:
        steps = itertools.product((-1, 0, 1), repeat=len(here))
        around = [tuple(a + b for a, b in zip(here, step, strict=True)) for step in steps]
        best = min(around, key=value)
        if value(best) >= value(here) - 1e-9:
            return dict(zip(box, here, strict=True)), value(here)
        here = best


def _box(scenario: DualSourcing, name: str) -> dict[str, range]:
    ratio = scenario.penalty_cost / (scenario.holding_cost + scenario.penalty_cost)
    near = int(fractile(scenario.demand, scenario.expedited_lead_time + 1, ratio))
    far = int(fractile(scenario.demand, scenario.regular_lead_time + 1, ratio))
    if name == "tailored_base_surge":
        largest = int(np.ceil(scenario.demand.mean))
        return {"expedited_order_up_to": range(near + 1), "quantity": range(largest)}
    if name == "single_index":
        return {"order_up_to": range(far + 1), "expedited_order_up_to": range(far)}
    box = {"expedited_order_up_to": range(near + 1), "regular_order_up_to": range(far + 1)}
    if name == "capped_dual_index":
        box["cap"] = range(1, int(fractile(scenario.demand, 1, ratio)) + 1)
    return box


RULES: dict[str, Callable[..., float]] = {
    "capped_dual_index": capped_dual_index_cost,
    "dual_index": dual_index_cost,
    "single_index": single_index_cost,
    "tailored_base_surge": tailored_base_surge_cost,
}

__all__ = ["RULES", "Model", "best_parameters", "solve"]
