"""Who gets the trucks of a pool: those at hand, drivers' hours, hired ones, and their return."""

import functools
from typing import Any, NamedTuple

import numpy as np

from stockyard.envs.network.arrays import (
    Array,
    SumPlan,
    anywhere,
    as_like,
    ascending_order,
    at_least,
    at_most,
    concat,
    fill_share,
    gather_sum,
    namespace,
    spread,
    stack,
    sum_entries,
    take,
    take_along,
)
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.state import Exogenous, FreightState, Revealed

URGENCY = 100.0
"""How many times what must go now counts against what may wait, where lanes want one truck."""


class FleetPlan(NamedTuple):
    """The pools in the arrays of a backend."""

    by_pool: SumPlan  # truck lanes to pools
    pool_of: Any  # (L,) index
    lanes: Any  # (G * C,) index of each pool's lanes, side by side; L stands for none
    width: int  # C, most lanes of a pool
    place: Any  # (L,) index of each lane in `lanes`
    duty_hours: Array  # (L,)
    round_trip: Array  # (L,) periods
    most_hours: Array  # (G,)


@functools.lru_cache(maxsize=64)
def fleet_plan(params: Params) -> FleetPlan:
    """The pools of a network with `Freight`."""
    freight = params.network.freight
    assert freight is not None
    make = array_maker(params.backend, params.dtype, params.device)
    pool, count = freight.pool, len(freight.pools)
    own = [np.flatnonzero(pool == g) for g in range(count)]
    width = max(len(lanes) for lanes in own)
    table = np.full((count, width), len(pool))
    for g, lanes in enumerate(own):
        table[g, : len(lanes)] = lanes
    flat = table.ravel()
    place = np.array([int(np.flatnonzero(flat == lane)[0]) for lane in range(len(pool))])
    return FleetPlan(
        by_pool=SumPlan.of(pool, count),
        pool_of=params.index(pool),
        lanes=params.index(flat),
        width=width,
        place=params.index(place),
        duty_hours=make(freight.duty_hours),
        round_trip=make(freight.round_trip),
        most_hours=make(np.minimum(freight.most_hours, 1e9)),
    )


def own_at_hand(state: FreightState, revealed: Revealed) -> Array:
    """Own trucks that can be sent now, (B, G): those in service that are not away."""
    away = sum_entries(state.away)
    return at_least(revealed.fleet_size - away, 0.0)


def hours_at_hand(params: Params, state: FreightState, revealed: Revealed) -> Array | None:
    """Drivers' hours that can be used now, (B, G); None: not limited."""
    if state.hours is None:
        return None
    most = fleet_plan(params).most_hours
    return namespace(state.hours).minimum(state.hours + revealed.driver_hours, most)


def grant(
    params: Params,
    wanted: Array,
    due: Array,
    waiting: Array,
    trucks: Array,
    hours: Array | None,
) -> Array:
    """Shares the trucks of each pool among its lanes.

    Trucks are given one by one, to the lane whose next truck would take most of what must go now,
    and among equals most altogether; a lane with a longer trip than drivers' hours allow is passed
    over. Fractions of trucks, where they are fluid, are shared in proportion to what is wanted.

    Args:
        params: the network.
        wanted: (B, L) trucks, whole unless `params.fluid_trucks`.
        due: (B, L) ft3 that must go now.
        waiting: (B, L) ft3 in all.
        trucks: (B, G) trucks that there are.
        hours: (B, G) drivers' hours that there are; None: not limited.

    Returns:
        (B, L) trucks, at most what is wanted.
    """
    plan = fleet_plan(params)
    asked = gather_sum(wanted, plan.by_pool)
    short = asked > trucks
    if hours is not None:
        worked = gather_sum(wanted * plan.duty_hours, plan.by_pool)
        short = short | (worked > hours + 1e-9)
    if not anywhere(short):
        return wanted
    if params.fluid_trucks:
        share = fill_share(trucks, asked)
        if hours is not None:
            share = namespace(share).minimum(share, fill_share(hours, worked))
        return wanted * take(share, plan.pool_of)
    return _one_by_one(params, plan, wanted, due, waiting, trucks, hours)


def _one_by_one(
    params: Params,
    plan: FleetPlan,
    wanted: Array,
    due: Array,
    waiting: Array,
    trucks: Array,
    hours: Array | None,
) -> Array:
    xp = namespace(wanted)
    most = int(wanted.max())
    size = at_least(params.a.truck_volume, 1.0)
    flags, scores = [], []
    for k in range(most):
        now = at_most(at_least(due / size - k, 0.0), 1.0)
        load = at_most(at_least(waiting / size - k, 0.0), 1.0)
        asks = as_like(0.0, wanted) + (wanted > k)
        flags.append(_in_table(asks, plan))
        scores.append(_in_table(asks * (1.0 + URGENCY * now + load), plan))
    pools = trucks.shape[1]

    def by_pool(parts: list[Array]) -> Array:
        """Candidates (B, G, C * most), the lanes of a pool running fastest."""
        split = [part.reshape(-1, pools, plan.width) for part in parts]
        return concat(split, axis=2)

    order = ascending_order(-by_pool(scores))
    asks = take_along(by_pool(flags), order, 2)
    duty = None
    if hours is not None:
        duty = by_pool([_in_table(plan.duty_hours + 0.0 * wanted, plan)] * most)
        duty = take_along(duty, order, 2)
    left, given = trucks, []
    last = int(asks.sum(axis=2).max())
    for k in range(asks.shape[2]):
        if k >= last:  # candidates that ask for nothing stand last
            given.append(left * 0.0)
            continue
        taken = asks[:, :, k] * (left >= 1.0)
        if hours is not None and duty is not None:
            taken = taken * (duty[:, :, k] <= hours + 1e-9)
            hours = hours - taken * duty[:, :, k]
        left = left - taken
        given.append(taken)
    back = ascending_order(order)
    granted = take_along(xp.stack(given, axis=2), back, 2)
    total: Array = 0.0
    for k in range(0, most * plan.width, plan.width):
        total = total + granted[:, :, k : k + plan.width]
    return take(total.reshape(-1, pools * plan.width), plan.place)


def _in_table(lanes: Array, plan: FleetPlan) -> Array:
    """Values of truck lanes (B, L) as (B, G * C); zero where a pool has fewer lanes."""
    return take(concat([lanes, lanes[:, :1] * 0.0]), plan.lanes)


def send(
    params: Params,
    state: FreightState,
    own: Array,
    hours: Array | None,
    exogenous: Exogenous,
) -> FreightState:
    """Books own trucks (B, L) as away and their drivers' hours as used."""
    plan = fleet_plan(params)
    slots = state.away.shape[1]
    slot = plan.round_trip + 0.0 * own - 1.0
    if exogenous.return_delay is not None:
        slot = slot + exogenous.return_delay
    slot = at_most(slot, float(slots - 1))
    # every lane a part shipment of its own, into the slot of its return
    by_lane = spread(own[:, None], slot[:, None], slots)  # (B, S, L)
    into = [gather_sum(by_lane[:, k], plan.by_pool) for k in range(slots)]
    if hours is not None:
        hours = at_least(hours - gather_sum(own * plan.duty_hours, plan.by_pool), 0.0)
    return state._replace(away=state.away + stack(into, axis=1), hours=hours)


def return_trucks(state: FreightState) -> FreightState:
    """One period later: trucks due are back, the others are a period nearer."""
    away = concat([state.away[:, 1:], state.away[:, :1] * 0.0])
    return state._replace(away=away)
