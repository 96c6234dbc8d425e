"""Phase P4: transfers between nodes, cut to what the tail has and the head can hold."""

import functools
from typing import Any

import numpy as np

from stockyard.envs.network.arrays import (
    Array,
    at_least,
    concat,
    copy_of,
    fill_share,
    floor_straight_through,
    gather_sum,
    minus_gathered,
    namespace,
    plus_gathered,
    round_straight_through,
    stack,
    sum_entries,
    take,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Exogenous, State


def position_at_nodes(params: Params, state: State) -> Array:
    """Units at each node or on a transfer lane to it, (B, N, P): what placement counts as there.

    Orders from suppliers count only at nodes that transfers reach too.
    """
    plans = params.plans
    units = state.on_hand if state.yard is None else state.on_hand + state.yard
    if params.feeds_twice and state.inbound:
        coming = sum(state.inbound[1:], start=state.inbound[0])
        units = plus_gathered(units, coming, plans.inbound_to_node)
    under_way = state.staged
    for slot in state.transfers:
        under_way = slot if under_way is None else under_way + slot
    if under_way is None:
        return units
    return plus_gathered(units, under_way, plans.transfers_to_node)


def move(
    params: Params, state: State, wanted: Array | None, exogenous: Exogenous
) -> tuple[State, Array | None, Array | None]:
    """Takes transfers from the tails' stock; units that cannot go stay where they are.

    Every lane sees the stock at the start of the period. Lanes of one tail share its stock in
    proportion to what they want; lanes into one head share its free space likewise.

    Args:
        params: the network.
        state: start of the period (orders already placed).
        wanted: (B, E_tr, P) units; negative values count as zero. None: nothing moves.
        exogenous: this period of the tape.

    Returns:
        The state without the moved units and with them under way or staged; the units moved,
        (B, E_tr, P); units that land in this very period (transit 0), or None.
    """
    network = params.network
    lanes = network.transfers
    if wanted is None or not len(lanes.tail):
        return state, None, None
    wanted = at_least(wanted, 0.0)
    if params.whole_units:
        wanted = round_straight_through(wanted)
    moved = _within_tail_stock(params, state, wanted)
    if params.storage_is_limited:
        capacity = exogenous.revealed.storage_capacity
        moved = _within_head_space(params, state, moved, capacity)
        if params.whole_units:
            moved = floor_straight_through(moved)
    if params.plans.tails_are_shared:
        on_hand = copy_of(state.on_hand)
        for tail, leaving in lanes_by_tail(params):
            left = state.on_hand[:, tail] - sum_entries(moved[:, leaving])
            on_hand[:, tail] = at_least(left, 0.0)
    else:
        on_hand = minus_gathered(state.on_hand, moved, params.plans.transfers_from_node)
    staged, leaving = state.staged, moved
    if staged is not None:
        waits = params.a.has_trucks[: len(lanes.tail), None]
        staged = staged + moved * waits
        leaving = moved * (1.0 - waits)
    transit, landed = depart(params, state.transfers, leaving)
    return state._replace(on_hand=on_hand, staged=staged, transfers=transit), moved, landed


@functools.lru_cache(maxsize=64)
def lanes_by_tail(params: Params) -> tuple[tuple[int, Any], ...]:
    """Tails and the lanes that leave them, a slice where these are neighbours."""
    tails = params.network.transfers.tail
    return tuple(
        (tail, params.index(np.flatnonzero(tails == tail))) for tail in sorted(set(tails.tolist()))
    )


def _within_tail_stock(params: Params, state: State, wanted: Array) -> Array:
    """Rations each tail's stock among its lanes; (B, E_tr, P), never more than there is."""
    xp = namespace(wanted)
    if not params.plans.tails_are_shared:
        return xp.minimum(wanted, take(state.on_hand, params.plans.transfer_tail))
    parts: list[Array] = []
    for tail, lanes in lanes_by_tail(params):
        claims, stock = wanted[:, lanes], state.on_hand[:, tail]
        if claims.shape[1] == 1:  # no sharing: all the stock may go, without a rounding error
            parts.append(xp.minimum(claims, stock[:, None]))
        elif params.whole_units:
            shares = ration([claims[:, k] for k in range(claims.shape[1])], stock, True)
            parts.append(stack(shares, axis=1))
        else:
            parts.append(claims * fill_share(stock, sum_entries(claims))[:, None])
    if len(parts) == 1:
        return parts[0]
    return take(concat(parts), params.plans.from_tail_order)


def ration(claims: list[Array], stock: Array, whole_units: bool) -> list[Array]:
    """Shares `stock` among claims in proportion; whole units by cumulative rounding.

    Args:
        claims: arrays of one shape, units >= 0.
        stock: units at hand, the same shape.
        whole_units: whether the shares must be whole; then each is within one unit of its
            proportional share, and together they use all that is wanted or there.

    Returns:
        What each claim gets; together never more than `stock`.
    """
    xp = namespace(stock)
    if len(claims) == 1:
        return [xp.minimum(claims[0], stock)]
    total = sum(claims[1:], start=claims[0])
    share = fill_share(stock, total)
    if not whole_units:
        return [claim * share for claim in claims]
    granted, before, asked = [], xp.zeros_like(stock), xp.zeros_like(stock)
    for claim in claims:
        asked = asked + claim
        upto = floor_straight_through(asked * share)
        granted.append(upto - before)
        before = upto
    return granted


def _within_head_space(params: Params, state: State, units: Array, capacity: Array) -> Array:
    """Cuts lanes into a node to the space that its stock and what is on the way leave free."""
    room = capacity - weighted_sum(position_at_nodes(params, state), params.a.volume)
    wanted = gather_sum(weighted_sum(units, params.a.volume), params.plans.transfers_to_node)
    share = fill_share(room, wanted)
    return units * take(share, params.plans.transfer_head)[:, :, None]


def depart(
    params: Params, transfers: tuple[Array, ...], units: Array
) -> tuple[tuple[Array, ...], Array | None]:
    """Puts `units` (B, E_tr, P) under way; returns the pipeline and what lands at once."""
    slots: list[Array | None] = [*transfers]
    landed = None
    for k, mask in params.plans.transit_masks:
        part = units if mask is None else units * mask
        if k == 0:
            landed = part
            continue
        slots += [None] * (k - len(slots))
        had = slots[k - 1]
        slots[k - 1] = part if had is None else had + part
    return tuple(units * 0.0 if slot is None else slot for slot in slots), landed
