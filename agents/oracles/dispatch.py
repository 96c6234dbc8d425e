"""Trucks on one lane: consolidation formulas, batch dispatch, dispatch under deadlines.

State of the two decision processes: the parcels that wait when trucks are decided on, new arrivals
among them; without deadlines their number, with deadlines their number by slack (0 first). Without
deadlines the number is cut at a bound that is doubled until the optimal policy is there for less
than `EDGE_SHARE` of the time; with deadlines all states are finite once arrivals are cut (see
`demand`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stockyard.agents.oracles.demand import Floats, Ints, masses
from stockyard.agents.oracles.dynamic_programming import MOST_ENTRIES, TOLERANCE, Process, grid
from stockyard.agents.oracles.parameters import Levels, whole
from stockyard.agents.oracles.solution import (
    Observation,
    Solution,
    Truncation,
    look_up,
)
from stockyard.envs.textbook import DispatchLane

EDGE_SHARE = 1e-12
"""Long-run share of time at the bound on waiting parcels."""

MOST_WAITING = 20_000


@dataclass(frozen=True)
class Consolidation:
    """The best pure policies of consolidating Poisson orders, in continuous time."""

    quantity: int  # dispatch when so many wait
    quantity_cost: float  # USD per unit of time
    interval: float  # dispatch every so often, paid even when nothing waits
    interval_cost: float


def consolidation(arrival_rate: float, dispatch_cost: float, waiting_cost: float) -> Consolidation:
    """Quantity and time policies (Cetinkaya & Bookbinder 2003, private carriage).

    A quantity policy costs rate K / q + w (q - 1) / 2, a time policy K / T + rate w T / 2.

    Args:
        arrival_rate: orders per unit of time, Poisson.
        dispatch_cost: K, USD.
        waiting_cost: w, USD per order and unit of time.
    """
    root = math.sqrt(0.25 + 2.0 * dispatch_cost * arrival_rate / waiting_cost) - 0.5
    quantity = max(math.ceil(root - 1e-12), 1)  # smallest q with q (q + 1) >= 2 K rate / w
    interval = math.sqrt(2.0 * dispatch_cost / (arrival_rate * waiting_cost))
    return Consolidation(
        quantity,
        arrival_rate * dispatch_cost / quantity + waiting_cost * (quantity - 1) / 2.0,
        interval,
        interval_policy_cost(arrival_rate, dispatch_cost, waiting_cost, interval),
    )


def interval_policy_cost(
    arrival_rate: float,
    dispatch_cost: float,
    waiting_cost: float,
    interval: float,
    charged_when_empty: bool = True,
) -> float:
    """Cost per unit of time of dispatching at fixed intervals, USD."""
    paid = 1.0 if charged_when_empty else -math.expm1(-arrival_rate * interval)
    return dispatch_cost * paid / interval + arrival_rate * waiting_cost * interval / 2.0


def _check_capacity(lane: DispatchLane) -> None:
    if lane.truck_capacity != int(lane.truck_capacity):
        raise ValueError(
            f"truck_capacity: the exact oracle wants whole parcels, got {lane.truck_capacity}"
        )


def _check_room(lane: DispatchLane, trucks: int) -> None:
    room = trucks * lane.truck_capacity
    if lane.arrivals.mean >= room:
        raise ValueError(
            f"dispatch: {trucks} trucks take {room:g} parcels a period and do not keep up with "
            f"{lane.arrivals.mean:g} arrivals"
        )


def batch_process(lane: DispatchLane, most: int) -> Process:
    """Parcels without deadlines: states 0..most that wait, actions 0..max_trucks."""
    _check_capacity(lane)
    law = masses(lane.arrivals)
    waiting = np.arange(most + 1)
    trucks = np.arange(lane.max_trucks + 1)
    room = trucks * int(lane.truck_capacity)
    stay = np.maximum(waiting[:, None] - room, 0)
    cost = lane.truck_cost * trucks + lane.holding_cost * stay
    successor = np.minimum(stay[:, :, None] + np.arange(len(law.p)), most)
    return Process(successor, law.p, cost)


def deadline_process(lane: DispatchLane) -> tuple[Process, Ints]:
    """Parcels with deadlines, earliest due first; the states (S, slack + 1) by slack, 0 first."""
    if lane.slack is None:
        raise ValueError("slack: parcels have no deadlines here")
    _check_capacity(lane)
    law = masses(lane.arrivals)
    bins = lane.slack + 1
    if (len(law.p)) ** (bins + 1) * (lane.max_trucks + 1) > MOST_ENTRIES:
        raise ValueError("dispatch: too many transitions for the exact oracle")
    states = grid(np.full(bins, law.largest))
    trucks = np.arange(lane.max_trucks + 1)
    room = trucks * int(lane.truck_capacity)
    ahead = np.cumsum(states, axis=1) - states
    loaded = np.clip(room[None, :, None] - ahead[:, None, :], 0, states[:, None, :])
    left = states[:, None, :] - loaded  # (S, A, bins)
    cost = (
        lane.truck_cost * trucks
        + lane.expedite_cost * left[..., 0]
        + lane.holding_cost * left[..., 1:].sum(axis=2)
    )
    strides = len(law.p) ** np.arange(bins)[::-1]
    # slack falls by one; new parcels take the last bin, whose stride is one
    kept = left[..., 1:] @ strides[:-1]
    successor = kept[:, :, None] + np.arange(len(law.p))
    return Process(successor, law.p, cost), states


def _batch(
    lane: DispatchLane, discount: float | None, periods: int | None, tolerance: float
) -> Solution:
    _check_room(lane, lane.max_trucks)
    most = 4 * math.ceil(lane.truck_capacity * lane.max_trucks) + masses(lane.arrivals).largest
    while True:
        model = batch_process(lane, most)
        found, best = model.solve(discount, periods, tolerance)
        chain = model.chain(best)
        at_edge = chain.states == most
        share = float(chain.stationary()[at_edge].sum()) if at_edge.any() else 0.0
        if share <= EDGE_SHARE:
            break
        most *= 2
        if most > MOST_WAITING:
            raise ValueError(
                f"dispatch: more than {MOST_WAITING} parcels would have to be followed"
            )

    def read(observation: Observation) -> Ints:
        return np.asarray(np.rint(observation["parcels"][:, -1:]), dtype=np.int64)

    parameters = {}
    threshold = int(np.argmax(best > 0))
    if lane.max_trucks == 1 and (best[threshold:] > 0).all() and best.max() > 0:
        parameters = {"threshold": threshold}
    truncation = Truncation(
        {"waiting": most}, found.error, f"share of time at the bound <= {EDGE_SHARE:g}"
    )
    policy = look_up(best[:, None], (0,), read, "parcels")
    return Solution(found.cost, policy, truncation, parameters)


def solve(
    lane: DispatchLane,
    discount: float | None = None,
    periods: int | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The optimum: average cost, or from nothing waiting with `discount` or over `periods`."""
    if lane.slack is None:
        return _batch(lane, discount, periods, tolerance)
    model, states = deadline_process(lane)
    found, best = model.solve(discount, periods, tolerance)
    bins = lane.slack + 1

    def read(observation: Observation) -> Ints:
        return np.asarray(np.rint(observation["parcels"][:, 1 : bins + 1]), dtype=np.int64)

    table = best.reshape(*(int(top) + 1 for top in states.max(axis=0)), 1)
    policy = look_up(table, (0,) * bins, read, "parcels")
    truncation = Truncation(
        {"arrivals": float(states.max())}, found.error, "all states of the cut law"
    )
    return Solution(found.cost, policy, truncation, {})


def control_limit_cost(lane: DispatchLane, threshold: Levels) -> float:
    """As many trucks as leave fewer than `threshold` parcels waiting (Deb & Serfozo 1973)."""
    limit = whole("threshold", threshold, least=1)

    def trucks(waiting: Ints) -> Ints:
        needed = np.maximum((waiting - limit) // int(lane.truck_capacity) + 1, 0)
        return np.minimum(needed, lane.max_trucks)

    _check_capacity(lane)
    if lane.slack is not None:
        return _deadline_rule(lane, lambda states: trucks(states.sum(axis=1)))
    _check_room(lane, lane.max_trucks)
    most = 2 * (limit + 4 * math.ceil(lane.truck_capacity) + masses(lane.arrivals).largest)
    while True:
        model = batch_process(lane, most)
        chain = model.chain(trucks(np.arange(most + 1)))
        at_edge = chain.states == most
        if not at_edge.any() or float(chain.stationary()[at_edge].sum()) <= EDGE_SHARE:
            return chain.average().cost
        most *= 2
        if most > MOST_WAITING:
            raise ValueError(
                f"dispatch: more than {MOST_WAITING} parcels would have to be followed"
            )


def _deadline_rule(lane: DispatchLane, goes: Callable[[Ints], Floats | Ints]) -> float:
    if lane.slack is None:
        raise ValueError("dispatch: this rule is for parcels with deadlines")
    model, states = deadline_process(lane)
    trucks = np.minimum(np.asarray(goes(states), dtype=np.int64), lane.max_trucks)
    return model.chain(trucks).average().cost


def dispatch_when_due_cost(lane: DispatchLane) -> float:
    """As many trucks as the parcels that are due need."""
    return _deadline_rule(lane, lambda s: np.ceil(s[:, 0] / lane.truck_capacity))


def dispatch_when_full_or_due_cost(lane: DispatchLane) -> float:
    """Every truck that can be filled, and those that the parcels that are due need."""

    def trucks(states: Ints) -> Floats:
        full = np.floor(states.sum(axis=1) / lane.truck_capacity)
        return np.asarray(np.maximum(full, np.ceil(states[:, 0] / lane.truck_capacity)))

    return _deadline_rule(lane, trucks)


def always_cost(lane: DispatchLane) -> float:
    """Whatever waits leaves at once."""
    if lane.slack is None:
        return control_limit_cost(lane, 1)
    return _deadline_rule(lane, lambda s: np.ceil(s.sum(axis=1) / lane.truck_capacity))


def never_cost(lane: DispatchLane) -> float:
    """No trucks: everything is expedited when it is due."""
    return _deadline_rule(lane, lambda states: np.zeros(len(states)))


RULES: dict[str, Callable[..., float]] = {
    "always": always_cost,
    "control_limit": control_limit_cost,
    "dispatch_when_due": dispatch_when_due_cost,
    "dispatch_when_full_or_due": dispatch_when_full_or_due_cost,
    "never": never_cost,
}
