"""Phase P8: pipelines advance, arrivals reach the yard, docks put them on the shelf."""

from typing import NamedTuple

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    anywhere,
    at_least,
    fill_share,
    floor_straight_through,
    gather_sum,
    namespace,
    plus_gathered,
    sum_entries,
    take,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Exogenous, State


class Receipts(NamedTuple):
    """What arrived and what was put on the shelf."""

    arrived: Array | None  # (B, N, P) units that reached the node
    received: Array | None  # (B, N, P) units that reached the shelf
    supplied: Array | None  # (B, P) units from suppliers, where transfers reach their nodes too
    stored_volume: Array | None  # (B, N) ft3 on the shelf and staged before
    overflow_volume: Array | None  # (B, N) ft3 of it above the capacity; None: nowhere
    refused_volume: Array | None  # (B, N) ft3 turned away by a full yard, tried again next period


def land(params: Params, state: State, inbound: Array | None, transfers: Array | None) -> State:
    """Adds units that arrive in the period they were sent (lead time or transit 0)."""
    arrived = _by_node(params, inbound, transfers)
    return state if arrived is None else state._replace(on_hand=state.on_hand + arrived)


def receive(params: Params, state: State, exogenous: Exogenous) -> tuple[State, Receipts]:
    """Advances all pipelines by one period and receives what docks and shelves allow.

    Receiving and storage are shared by products in proportion to volume, the retailer's and the
    sellers' alike. Stock above a capacity that fell stays; it only stops receiving.

    Args:
        params: the network.
        state: after dispatch.
        exogenous: this period of the tape (capacities).

    Returns:
        The state at the start of the next period, and the receipts.
    """
    due, inbound = (state.inbound[0], state.inbound[1:]) if state.inbound else (None, ())
    moving, transfers = (state.transfers[0], state.transfers[1:]) if state.transfers else (None, ())
    stored = stored_volume(params, state) if params.counts_volume else None
    overflow = None
    if params.storage_is_limited and stored is not None:
        over = stored - exogenous.revealed.storage_capacity
        if anywhere(over > 0.0):
            overflow = at_least(over, 0.0)
    if state.yard is None:
        arrived = _by_node(params, due, moving)
        on_hand = state.on_hand if arrived is None else state.on_hand + arrived
        state = state._replace(on_hand=on_hand, inbound=inbound, transfers=transfers)
        return state, Receipts(arrived, arrived, _supplied(params, due), stored, overflow, None)
    refused = None
    volume = weighted_sum(state.yard, params.a.volume)
    coming = _volume_by_node(params, due, moving)
    if coming is not None:
        capacity = exogenous.revealed.yard_capacity
        if params.yard_is_limited and anywhere(volume + coming > capacity):
            share = fill_share(capacity - volume, coming)
            due, inbound = _admit(params, due, inbound, take(share, params.plans.inbound_head))
            moving, transfers = _admit(
                params, moving, transfers, take(share, params.plans.transfer_head)
            )
            admitted = _volume_by_node(params, due, moving)
            refused, coming = at_least(coming - admitted, 0.0), admitted
        volume = volume + coming
    arrived = _by_node(params, due, moving)
    yard = state.yard if arrived is None else state.yard + arrived
    share = fill_share(_dock_room(params, stored, exogenous, volume), volume)
    received = yard * share[:, :, None]
    if params.whole_units:
        received = floor_straight_through(received)
    state = state._replace(
        on_hand=state.on_hand + received,
        yard=yard - received,
        inbound=inbound,
        transfers=transfers,
    )
    supplied = _supplied(params, due)
    return state, Receipts(arrived, received, supplied, stored, overflow, refused)


def _supplied(params: Params, due: Array | None) -> Array | None:
    if due is None or not params.feeds_twice:
        return None
    return sum_entries(due)


def stored_volume(params: Params, state: State) -> Array:
    """Volume on the shelf and staged, (B, N) ft3."""
    volume = weighted_sum(state.on_hand, params.a.volume)
    if state.staged is None:
        return volume
    staged = weighted_sum(state.staged, params.a.volume)
    return volume + gather_sum(staged, params.plans.transfers_from_node)


def _dock_room(params: Params, stored: Array | None, exogenous: Exogenous, like: Array) -> Array:
    """Volume that can be received, (B, N) ft3: the tighter of dock and free space.

    `like` is what stands in the yard, today's arrivals included.
    """
    revealed = exogenous.revealed
    dock = revealed.receiving_capacity if params.dock_is_limited else None
    if params.congestion is not None and stored is not None:
        dock = dock * productivity(params, stored, like, revealed.storage_capacity)
    if not params.storage_is_limited or stored is None:
        return like * 0.0 + UNLIMITED if dock is None else dock
    space = revealed.storage_capacity - stored
    return space if dock is None else namespace(space).minimum(space, dock)


def productivity(params: Params, stored: Array, waiting: Array, capacity: Array) -> Array:
    """Share of its receiving capacity that a dock reaches in a building so full, (B, N).

    Args:
        params: the network; its `congestion` says how docks slow down.
        stored: (B, N) ft3 on the shelf and staged.
        waiting: (B, N) ft3 in the yard.
        capacity: (B or 1, N) ft3 of storage.
    """
    rule = params.congestion
    assert rule is not None
    full = (stored + rule.yard_weight * waiting) / at_least(capacity, 1e-6)
    return at_least(1.0 - rule.slope * at_least(full - rule.start, 0.0), rule.least)


def _by_node(params: Params, inbound: Array | None, transfers: Array | None) -> Array | None:
    """Sums lanes (B, E, ...) into their heads, (B, N, ...); None where nothing is under way."""
    plans = params.plans
    if inbound is None and transfers is None:
        return None
    if transfers is None:
        return gather_sum(inbound, plans.inbound_to_node)
    if inbound is None:
        return gather_sum(transfers, plans.transfers_to_node)
    landed = gather_sum(transfers, plans.transfers_to_node)
    return plus_gathered(landed, inbound, plans.inbound_to_node)


def _volume_by_node(params: Params, inbound: Array | None, transfers: Array | None) -> Array | None:
    """Volume of what arrives on lanes, (B, N) ft3: summed by lane first, which is less to move."""
    volume = params.a.volume
    return _by_node(
        params,
        None if inbound is None else weighted_sum(inbound, volume),
        None if transfers is None else weighted_sum(transfers, volume),
    )


def _admit(
    params: Params, due: Array | None, pipeline: tuple[Array, ...], share: Array
) -> tuple[Array | None, tuple[Array, ...]]:
    """Splits what is due (B, E, P) into what a full yard lets in and what comes again next period.

    Returns:
        The part let in, and the pipeline with the rest in its first slot.
    """
    if due is None:
        return None, pipeline
    admitted = due * share[:, :, None]
    if params.whole_units:
        admitted = floor_straight_through(admitted)
    back = due - admitted
    return admitted, (pipeline[0] + back, *pipeline[1:]) if pipeline else (back,)
