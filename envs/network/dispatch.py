"""Phase P6: trucks load the parcels and transfers that stood at the start of the period.

Parcel bins, in loading order: late, slack 0 .. K periods to the last on-time dispatch, and last
the parcels without a deadline. What is sold in this period joins after accounting.
"""

from typing import NamedTuple

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    at_least,
    at_most,
    concat,
    fill_share,
    floor_straight_through,
    namespace,
    product_sum,
    stack,
    weighted_sum,
)
from stockyard.envs.network.params import Params
from stockyard.envs.network.place import depart
from stockyard.envs.network.state import Exogenous, State
from stockyard.envs.network.topology import Promise


class Dispatch(NamedTuple):
    """What left; shapes as in `Flows`."""

    trucks: Array | None
    dispatched: Array | None
    dispatched_volume: Array | None
    expedited: Array | None
    expedited_volume: Array | None
    newly_late: Array | None


NOTHING = Dispatch(None, None, None, None, None, None)


def dispatch(
    params: Params,
    state: State,
    trucks: Array | None,
    expedite: Array | None,
    staged_at_start: Array | None,
    exogenous: Exogenous,
) -> tuple[State, Dispatch]:
    """Loads trucks, earliest due first, and hands due parcels left behind to a carrier.

    Args:
        params: the network.
        state: after fulfilment.
        trucks: (B, E_tr + E_out) trucks to send; rounded to whole trucks unless
            `params.fluid_trucks`, and cut to the trucks at hand. None sends none.
        expedite: (B, E_out) share of the parcels with slack 0 left behind that a common carrier
            takes; None for none (or all, where the economics say so).
        staged_at_start: (B, E_tr, P) units staged when the decision was taken.
        exogenous: this period of the tape.

    Returns:
        The state with bins moved one period closer to their deadline, and what left. The gradient
        with respect to trucks is zero unless they are fluid.
    """
    network = params.network
    if not network.has_parcels and not network.has_transfer_trucks:
        return state, NOTHING
    xp = namespace(state.on_hand)
    moves = len(network.transfers.tail)
    if trucks is None:
        trucks = xp.zeros_like(state.on_hand[:, 0, :1]) + params.a.truck_volume * 0.0
    trucks = at_least(trucks, 0.0)
    if not params.fluid_trucks:
        trucks = xp.round(trucks)
    if exogenous.revealed.truck_limit is not None:
        trucks = xp.minimum(trucks, exogenous.revealed.truck_limit)
    trucks = trucks * params.a.has_trucks
    room = trucks * params.a.truck_volume + (1.0 - params.a.has_trucks) * UNLIMITED
    if network.has_transfer_trucks and staged_at_start is not None:
        state = _load_transfers(params, state, staged_at_start, room[:, :moves])
    if not network.has_parcels:
        return state, NOTHING._replace(trucks=trucks)
    state, gone = _load_parcels(params, state, room[:, moves:], expedite)
    return state, gone._replace(trucks=trucks)


def _load_transfers(params: Params, state: State, staged: Array, room: Array) -> State:
    """Loads each lane's staged units in proportion to its room."""
    share = fill_share(room, weighted_sum(staged, params.a.volume))
    loaded = staged * share[:, :, None]
    if params.whole_units:
        loaded = floor_straight_through(loaded)
    transfers, _ = depart(params, state.transfers, loaded)
    return state._replace(staged=state.staged - loaded, transfers=transfers)


def _load_parcels(
    params: Params, state: State, room: Array, expedite: Array | None
) -> tuple[State, Dispatch]:
    xp = namespace(room)
    assert state.parcels is not None and state.parcel_volume is not None
    bins = state.parcels.shape[2]
    left, left_volume, gone, gone_volume = [], [], [], []
    for k in range(bins):
        volume = state.parcel_volume[:, :, k]
        share = fill_share(room, volume)
        out = state.parcels[:, :, k] * share
        out_volume = volume * share
        rest = room - out_volume
        room = at_least(rest, 0.0)
        gone.append(out)
        gone_volume.append(out_volume)
        left.append(state.parcels[:, :, k] - out)
        left_volume.append(volume - out_volume)
    due, due_volume = left[1], left_volume[1]
    if params.economics.expedite_left_behind:
        taken = xp.ones_like(due)
    elif expedite is None:
        taken = xp.zeros_like(due)
    else:
        taken = at_most(at_least(expedite, 0.0), 1.0)
    sent, sent_volume = due * taken, due_volume * taken
    late, late_volume = due - sent, due_volume - sent_volume
    # Bins move one period closer: slack 0 becomes late, K empties, no deadline stays.
    nothing = xp.zeros_like(due)
    moved = [left[0] + late, *left[2 : bins - 1], nothing, left[bins - 1]]
    moved_volume = [left_volume[0] + late_volume, *left_volume[2 : bins - 1], nothing]
    moved_volume.append(left_volume[bins - 1])
    state = state._replace(parcels=stack(moved, axis=2), parcel_volume=stack(moved_volume, axis=2))
    return state, Dispatch(
        trucks=None,
        dispatched=stack(gone, axis=2),
        dispatched_volume=stack(gone_volume, axis=2),
        expedited=sent,
        expedited_volume=sent_volume,
        newly_late=late,
    )


def join_parcels(
    params: Params, state: State, served: tuple[Array, ...], exogenous: Exogenous
) -> tuple[State, Array | None, Array | None]:
    """After accounting, sold units and background parcels join the bins with full slack.

    Returns:
        The state, and what joined: parcels and ft3, each (B, E_out), or None without trucks.
    """
    if state.parcels is None or state.parcel_volume is None:
        return state, None, None
    xp = namespace(state.parcels)
    by_lane = _by_lane(params, served, exogenous.promise)
    units = product_sum(by_lane)
    volume = weighted_sum(by_lane, params.a.parcel_volume)
    if exogenous.background_parcels is not None:
        units = units + exogenous.background_parcels
        volume = volume + exogenous.background_volume
    mix = params.a.slack_mix
    zeros = xp.zeros_like(state.parcels[:, :, :1])
    join = concat([zeros, units[:, :, None] * mix], axis=2)
    join_volume = concat([zeros, volume[:, :, None] * mix], axis=2)
    return (
        state._replace(
            parcels=state.parcels + join, parcel_volume=state.parcel_volume + join_volume
        ),
        units,
        volume,
    )


def _by_lane(params: Params, served: tuple[Array, ...], promise: Promise) -> Array:
    """Sold units by outbound lane, (B, E_out, P), from what each rank served."""
    lanes: dict[int, Array] = {}
    for rank, units in zip(params.ranks(promise), served, strict=True):
        for region, lane in enumerate(rank.rank.lane.tolist()):
            if lane >= 0:
                lanes[lane] = units[:, region]
    return stack([lanes[k] for k in sorted(lanes)], axis=1)
