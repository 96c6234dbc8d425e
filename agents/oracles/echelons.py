"""Serial systems with backorders: the recursion of Clark & Scarf, in both kinds of review.

With h'_j the echelon holding cost of stage j (its local cost less that of the stage above), stage 1
facing the customers:

    g_1(x) = h'_1 x + (p + h'_1 + ... + h'_N) x^-          x: echelon stock after lead-time demand
    C_j(y) = E g_j(y - D_j),   S_j = argmin C_j            D_j: demand of the lead time
    g_{j+1}(x) = h'_{j+1} x + C_j(min(S_j, x))

and C_N(S_N) is the average cost, stock between stages charged at the sender's local rate (Clark &
Scarf 1960; Chen & Zheng 1994; Snyder & Shen 2019, section 6.2). In continuous review D_j is the
demand of L_j. In periodic review with cost at the end of the period D_1 is the demand of L_1 + 1
periods; the other stages are charged one period later than the recursion says, on stock that is
smaller by one period's mean, so the cost is C_N(S_N) less the mean times the local cost of stage 2.
A stage sends from what it had before today's deliveries: above stage 1 a lead time of 0 works as 1,
with the unit on the stage's own shelf for that period instead of between stages.

Demand on whole units is exact. Normal demand is on a grid: stage 1 by its closed form, the other
expectations by the trapezoidal rule, whose error here is of the third order of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal, stats

from stockyard.agents.oracles.demand import Floats, masses
from stockyard.agents.oracles.parameters import read_levels
from stockyard.agents.oracles.solution import ExactPolicy, Observation, Solution, Truncation
from stockyard.envs.network.distributions import Distribution, Normal
from stockyard.envs.textbook import Serial

STEPS_PER_DEVIATION = 64
"""Grid steps per standard deviation of the shortest lead-time demand, Normal demand."""

DEVIATIONS = 10.0
"""Half width of a Normal distribution on its grid, in standard deviations."""


@dataclass(frozen=True)
class EchelonLevels:
    """Echelon order-up-to levels, downstream first, and what they cost."""

    order_up_to: tuple[float, ...]
    cost: float  # average per unit of time, USD; the sender's rate on what is between stages
    step: float  # of the grid, units


def clark_scarf(
    demand: Distribution,
    lead_times: Sequence[float],
    echelon_holding_costs: Sequence[float],
    penalty_cost: float,
    order_up_to: Sequence[float] | None = None,
) -> EchelonLevels:
    """The recursion above, as in continuous review.

    Args:
        demand: of one unit of time; Poisson and Normal may have lead times that are no whole
            numbers.
        lead_times: over which D_j accumulates, downstream first.
        echelon_holding_costs: h'_j, USD per unit and unit of time, downstream first.
        penalty_cost: USD per unit owed and unit of time.
        order_up_to: echelon levels to evaluate; None for the best ones.

    Raises:
        ValueError: if the demand is neither on whole units nor Normal.
    """
    if not (len(lead_times) == len(echelon_holding_costs) > 0):
        raise ValueError("lead_times, holding costs: one each for every stage")
    if isinstance(demand, Normal) and demand.sd > 0:
        laws: _Gaussian | _Whole = _Gaussian(demand, lead_times)
    elif demand.is_integer:
        laws = _Whole(demand, lead_times)
    else:
        raise ValueError(f"serial systems: demand on whole units or Normal, got {demand!r}")
    x = laws.grid
    total_holding = float(sum(echelon_holding_costs))
    levels: list[float] = []
    stage_cost = laws.first_stage(echelon_holding_costs[0], penalty_cost + total_holding)
    for j, holding in enumerate(echelon_holding_costs):
        if j > 0:
            known = np.minimum(x, levels[-1])
            below = stage_cost_at(x, stage_cost, known)
            stage_cost = laws.expected(holding * x + below, j)
        if order_up_to is None:
            levels.append(laws.minimum(stage_cost))
        else:
            levels.append(float(order_up_to[j]))
    cost = float(stage_cost_at(x, stage_cost, np.array([levels[-1]]))[0])
    return EchelonLevels(tuple(levels), cost, laws.step)


def stage_cost_at(x: Floats, cost: Floats, at: Floats) -> Floats:
    """Costs between the points of the grid, by a parabola through the three nearest."""
    step = x[1] - x[0]
    k = np.clip(np.rint((at - x[0]) / step).astype(np.int64), 1, len(x) - 2)
    t = (at - x[k]) / step
    rise = 0.5 * (cost[k + 1] - cost[k - 1])
    bend = 0.5 * (cost[k + 1] - 2.0 * cost[k] + cost[k - 1])
    return np.asarray(cost[k] + t * (rise + t * bend))


class _Laws:
    """Lead-time demands on one grid of echelon stock."""

    grid: Floats
    step: float
    _weights: list[Floats]
    _offsets: list[int]

    def expected(self, values: Floats, stage: int) -> Floats:
        """E of the values at y - D; below the grid they go on as a straight line."""
        weights, offset = self._weights[stage], self._offsets[stage]
        if len(weights) == 1 and offset == 0:
            return values
        reach = len(weights) - 1 + offset
        slope = values[1] - values[0]
        left = values[0] + slope * np.arange(-reach, 0)
        right = np.zeros(max(-offset, 0)) + values[-1]
        wide = np.concatenate((left, values, right))
        found = signal.fftconvolve(wide, weights)
        first = reach - offset  # y - offset - 0 is at index reach - offset
        return np.asarray(found[first : first + len(values)])


class _Whole(_Laws):
    def __init__(self, demand: Distribution, lead_times: Sequence[float]) -> None:
        laws = [masses(demand, periods) for periods in lead_times]
        reach = sum(law.largest for law in laws)
        self.step = 1.0
        self.grid = np.arange(-reach - 2.0, reach + 3.0)
        self._weights = [law.p for law in laws]
        self._offsets = [0] * len(laws)
        self._first = laws[0]

    def first_stage(self, holding: float, shortage: float) -> Floats:
        leftover = self._first.leftover(np.maximum(self.grid, 0).astype(np.int64))
        owed = self._first.mean - self.grid + leftover
        return holding * (self.grid - self._first.mean) + shortage * owed

    def minimum(self, cost: Floats) -> float:
        least = cost.min()
        return float(self.grid[np.argmax(cost <= least + 1e-9 * max(abs(least), 1.0))])


class _Gaussian(_Laws):
    def __init__(self, demand: Normal, lead_times: Sequence[float]) -> None:
        means = [demand.mean * periods for periods in lead_times]
        deviations = [demand.sd * np.sqrt(periods) for periods in lead_times]
        shortest = float(min(d for d in deviations if d > 0))
        self.step = shortest / STEPS_PER_DEVIATION
        # the levels lie within the sum of what the stages could need
        high = sum(m + DEVIATIONS * d for m, d in zip(means, deviations, strict=True))
        low = sum(min(m - DEVIATIONS * d, 0.0) for m, d in zip(means, deviations, strict=True))
        low -= max(means)
        first, last = int(np.floor(low / self.step)), int(np.ceil(high / self.step))
        self.grid = np.asarray(self.step * np.arange(first, last + 1), dtype=np.float64)
        self._weights, self._offsets = [], []
        for mean, deviation in zip(means, deviations, strict=True):
            if deviation == 0:
                self._weights.append(np.ones(1))
                self._offsets.append(0)
                continue
            k = np.arange(
                int(np.floor((mean - DEVIATIONS * deviation) / self.step)),
                int(np.ceil((mean + DEVIATIONS * deviation) / self.step)) + 1,
            )
            density = stats.norm.pdf(k * self.step, mean, deviation) * self.step
            self._weights.append(np.asarray(density / density.sum()))
            self._offsets.append(int(k[0]))
        self._mean, self._deviation = means[0], float(deviations[0])

    def first_stage(self, holding: float, shortage: float) -> Floats:
        if self._deviation == 0:
            owed: Floats = np.maximum(self._mean - self.grid, 0.0)
        else:
            z = (self.grid - self._mean) / self._deviation
            owed = self._deviation * (stats.norm.pdf(z) - z * stats.norm.sf(z))
        return np.asarray(holding * (self.grid - self._mean) + shortage * owed)

    def minimum(self, cost: Floats) -> float:
        k = int(np.clip(cost.argmin(), 1, len(cost) - 2))
        if k != cost.argmin():
            raise ValueError("the best echelon level lies on the bound of the grid")
        bend = cost[k + 1] - 2.0 * cost[k] + cost[k - 1]
        shift = 0.5 * (cost[k - 1] - cost[k + 1]) / bend if bend > 0 else 0.0
        return float(self.grid[k] + self.step * np.clip(shift, -0.5, 0.5))


def periodic(scenario: Serial, order_up_to: Sequence[float] | None = None) -> EchelonLevels:
    """The best echelon levels of a periodic system, or the cost of given ones.

    The cost follows the scenario: with stock between stages or without.
    """
    local = scenario.holding_costs
    upper = (*local[1:], 0.0)
    echelon = [own - above for own, above in zip(local, upper, strict=True)]
    if min(echelon) < 0:
        raise ValueError("holding_costs: must not rise upstream for the recursion to hold")
    leads = scenario.lead_times
    cover = (leads[0] + 1, *(max(periods, 1) for periods in leads[1:]))
    found = clark_scarf(scenario.demand, cover, echelon, scenario.penalty_cost, order_up_to)
    mean = scenario.demand.mean
    # lead time 0 differs from 1 above stage 1 only in the shelf on which a unit rests meanwhile
    rests = sum(own for own, periods in zip(echelon[1:], leads[1:], strict=True) if periods == 0)
    cost = found.cost + mean * (rests - upper[0])
    if not scenario.charge_in_transit:
        cost -= mean * sum(above * periods for above, periods in zip(upper, leads, strict=True))
    return EchelonLevels(found.order_up_to, cost, found.step)


def echelon_base_stock_cost(scenario: Serial, order_up_to: Sequence[float]) -> float:
    """Average cost of echelon base stock, levels downstream first."""
    given = read_levels(
        "order_up_to",
        order_up_to,
        scenario.num_stages,
        whole_units=scenario.demand.is_integer,
        takes_scalar=False,
    )
    return periodic(scenario, given.tolist()).cost


def solve(scenario: Serial) -> Solution:
    """The optimal echelon base stock."""
    if not scenario.penalty_cost > 0:
        raise ValueError("penalty_cost: must be > 0 for an optimum to exist")
    found = periodic(scenario)
    normal = isinstance(scenario.demand, Normal)
    truncation = Truncation(
        {"grid_step": found.step},
        1e-4 * max(found.cost, 1.0) if normal else 1e-9 * max(found.cost, 1.0),
        "stated error: the cost moves by less when the grid is twice as fine"
        if normal
        else "all whole units; the tail of demand beyond 1e-13",
    )
    policy = _policy(scenario, np.array(found.order_up_to))
    return Solution(found.cost, policy, truncation, {"order_up_to": found.order_up_to})


def _policy(scenario: Serial, levels: Floats) -> ExactPolicy:
    n = scenario.num_stages

    def totals(observation: Observation, field: str, entries: int) -> Floats:
        """Sums of a field over its slots, (B, entries); zero where it is absent."""
        if field not in observation:
            return np.zeros((len(observation["on_hand"]), entries))
        values = np.asarray(observation[field], dtype=np.float64)
        return np.asarray(values.reshape(len(values), entries, -1).sum(axis=2))

    def decide(observation: Observation) -> Floats:
        on_hand = np.asarray(observation["on_hand"], dtype=np.float64).reshape(-1, n)
        owed = np.asarray(observation["backlog_by_region"], dtype=np.float64).sum(axis=-1)
        arriving = np.hstack(
            (totals(observation, "in_transit", n - 1), totals(observation, "inbound", 1))
        )
        position = np.cumsum(on_hand + arriving, axis=1) - owed.reshape(-1, 1)
        wanted = np.maximum(levels - position, 0.0)
        sent = np.minimum(wanted[:, :-1], on_hand[:, 1:])  # a stage sends what it has
        return np.hstack((wanted[:, -1:], sent))

    return ExactPolicy(decide, "on_hand")


RULES = {"echelon_base_stock": echelon_base_stock_cost}

__all__ = ["RULES", "EchelonLevels", "clark_scarf", "periodic", "solve"]
