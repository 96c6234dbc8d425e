"""Phase P6: trucks load the parcels and transfers that stood at the start of the period.

What is sold in this period, and what reaches a hub, joins the bins after accounting. How trucks are
shared is in `fleet`, what they take in `loading`, the way through hubs in `hubs`.
"""

from collections.abc import Sequence

import numpy as np

from stockyard.envs.network.arrays import (
    UNLIMITED,
    Array,
    at_least,
    at_most,
    concat,
    fill_share,
    gather_sum,
    namespace,
    product_sum,
    stack,
    take,
    weighted_sum,
)
from stockyard.envs.network.fleet import grant, hours_at_hand, own_at_hand, return_trucks, send
from stockyard.envs.network.hubs import depart_to_hubs, load_linehauls, rider_volumes
from stockyard.envs.network.lanes import LanePlan, lane_plan
from stockyard.envs.network.loading import (
    Dispatch,
    Loaded,
    bins_of,
    leave_behind,
    load_bins,
    load_transfers,
)
from stockyard.envs.network.packing import reachable, reached
from stockyard.envs.network.params import Params
from stockyard.envs.network.state import Exogenous, FreightFlows, State, TruckPlan
from stockyard.envs.network.topology import Promise


def dispatch(
    params: Params,
    state: State,
    plan: TruckPlan,
    staged_at_start: Array | None,
    exogenous: Exogenous,
) -> tuple[State, Dispatch, FreightFlows | None]:
    """Loads trucks, earliest due first, and hands due parcels left behind to a carrier.

    Args:
        params: the network.
        state: after fulfilment.
        plan: what is wanted. Trucks are rounded to whole ones unless `params.fluid_trucks`, and cut
            to those at hand; None sends none. Of the parcels with slack 0 left behind, a common
            carrier takes the share `expedite`; None: none (or all, where the economics say so).
        staged_at_start: (B, E_tr, P) units staged when the decision was taken.
        exogenous: this period of the tape.

    Returns:
        The state with bins moved one period closer to their deadline, what left, and what trucks
        did where the network has `Freight`. The gradient with respect to trucks is zero unless they
        are fluid.
    """
    network = params.network
    if not network.has_parcels and not network.has_transfer_trucks:
        return state, Dispatch(), None
    xp = namespace(state.on_hand)
    moves = len(network.transfers.tail)
    trucks = plan.trucks
    if trucks is None:
        trucks = xp.zeros_like(state.on_hand[:, 0, :1]) + params.a.truck_volume * 0.0
    trucks = at_least(trucks, 0.0)
    if not params.fluid_trucks:
        trucks = xp.round(trucks)
    if exogenous.revealed.truck_limit is not None:
        trucks = xp.minimum(trucks, exogenous.revealed.truck_limit)
    trucks = trucks * params.a.has_trucks
    if network.freight is not None:
        return _run_fleet(params, state, plan._replace(trucks=trucks), staged_at_start, exogenous)
    room = trucks * params.a.truck_volume + (1.0 - params.a.has_trucks) * UNLIMITED
    if network.has_transfer_trucks and staged_at_start is not None:
        state, _ = load_transfers(params, state, staged_at_start, room[:, :moves])
    if not network.has_parcels:
        return state, Dispatch(trucks=trucks), None
    assert state.parcels is not None and state.parcel_volume is not None
    loaded = load_bins(bins_of(state.parcels, state.parcel_volume), room[:, moves:])
    state, gone = leave_behind(params, state, loaded, plan.expedite)
    return state, gone._replace(trucks=trucks), None


def _run_fleet(
    params: Params, state: State, plan: TruckPlan, staged: Array | None, exogenous: Exogenous
) -> tuple[State, Dispatch, FreightFlows]:
    """Dispatch where lanes share pools of trucks, and parcels may go through hubs.

    1. Own trucks, as far as the pool and its drivers' hours go, then hired ones where allowed.
    2. Staged transfers, then bins, earliest due first; linehauls take what these left behind.
    3. Carriers take due parcels that are still there, as far as they go; the others are late.
    """
    fleet, parcels, volume = state.freight, state.parcels, state.parcel_volume
    assert fleet is not None and parcels is not None and volume is not None
    lanes, revealed = lane_plan(params), exogenous.revealed
    at_hand, hours = own_at_hand(fleet, revealed), hours_at_hand(params, fleet, revealed)
    own, spot = _assigned(params, state, plan, staged, exogenous, at_hand, hours)
    room = (own + spot) * params.a.truck_volume + (1.0 - params.a.has_trucks) * UNLIMITED
    staged_load = None
    if params.network.has_transfer_trucks and staged is not None:
        state, staged_load = load_transfers(params, state, staged, room[:, lanes.transfers])
    if params.network.freight is not None and params.network.freight.items is not None:
        room = room_of_items(params, room, own + spot, volume, plan.via_hub)
    loaded = load_bins(bins_of(parcels, volume), lanes.room_of_bins(room, staged_load))
    left, left_volume = stack(loaded.left.parcels, axis=2), stack(loaded.left.volume, axis=2)
    ridden = None
    if lanes.num_linehauls:
        left, left_volume, ridden = load_linehauls(
            params, left, left_volume, plan.via_hub, room[:, lanes.linehauls]
        )
        fleet = depart_to_hubs(params, fleet, ridden)
    loaded = loaded._replace(left=bins_of(left, left_volume))
    fleet = send(params, fleet, own, hours, exogenous)
    expedite = _within_carriers(lanes, loaded, plan.expedite, revealed.carrier_limit)
    state, gone = leave_behind(params, state._replace(freight=fleet), loaded, expedite)
    flows = FreightFlows(
        at_hand=at_hand,
        hours_left=fleet.hours,
        own=own,
        spot=spot,
        load=params.a.has_trucks
        * lanes.on_trucks(
            _total(loaded.gone.volume), None if ridden is None else ridden.load, staged_load
        ),
        sent_to_hub=None if ridden is None else ridden.parcels,
        sent_to_hub_volume=None if ridden is None else ridden.volume,
    )
    return state, gone._replace(trucks=own + spot), flows


def _total(bins: Sequence[Array]) -> Array:
    return sum(bins[1:], start=bins[0])


def _assigned(
    params: Params,
    state: State,
    plan: TruckPlan,
    staged: Array | None,
    exogenous: Exogenous,
    at_hand: Array,
    hours: Array | None,
) -> tuple[Array, Array]:
    """Own and hired trucks of each truck lane, (B, L) each."""
    wanted = plan.trucks
    assert wanted is not None
    products = None if staged is None else weighted_sum(staged, params.a.volume)
    waiting, due = waiting_on_lanes(params, state.parcel_volume, plan.via_hub, products)
    own = grant(params, wanted, due, waiting, at_hand, hours)
    if plan.spot is None:
        return own, own * 0.0
    xp = namespace(own)
    spot = at_least(xp.minimum(wanted, plan.spot) - own, 0.0)
    if not params.fluid_trucks:
        spot = xp.floor(spot + 1e-6)
    limit = exogenous.revealed.spot_limit
    if limit is not None:
        taken = own * params.a.truck_volume
        due, waiting = at_least(due - taken, 0.0), at_least(waiting - taken, 0.0)
        spot = grant(params, spot, due, waiting, limit + 0.0 * at_hand, None)
    return own, spot


def room_of_items(
    params: Params, room: Array, trucks: Array, volume: Array, via_hub: Array | None
) -> Array:
    """The room (B, L) ft3 that a loader can use where parcels are items; pallets are volume.

    A linehaul is offered what direct trucks may leave, all that may take it. One table serves all
    lanes, that of their largest truck.
    """
    freight, first = params.network.freight, lane_plan(params).transfers.stop
    assert freight is not None and freight.items is not None
    sizes = params.network.truck_volume[first:]
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes):
        return room
    waiting, _ = waiting_on_lanes(params, volume, via_hub, None)
    table = reached(freight.items, max(round(float(sizes.max())), 1))
    has = params.a.has_trucks[first:]
    given = room[:, first:]
    used = reachable(table, trucks[:, first:], given * has, waiting[:, first:])
    return concat([room[:, :first], used + given * (1.0 - has)])


def waiting_on_lanes(
    params: Params, volume: Array, via_hub: Array | None, staged: Array | None
) -> tuple[Array, Array]:
    """What waits on each truck lane, and what of it cannot wait for the next wave, (B, L) ft3.

    Args:
        params: a network with `Freight`.
        volume: (B, F, K+3) ft3 in bins.
        via_hub: (B, E_out) share of each lane's parcels that may take the linehaul; None: none.
        staged: (B, E_tr) ft3 of the network's own products that wait; None: none.
    """
    lanes = lane_plan(params)
    riders = rider_volumes(params, volume, via_hub) if lanes.num_linehauls else None
    waiting = lanes.on_trucks(
        product_sum(volume), None if riders is None else riders.waiting, staged
    )
    due = lanes.on_trucks(
        volume[:, :, 0] + volume[:, :, 1], None if riders is None else riders.due, None
    )
    return waiting, due


def _within_carriers(
    lanes: LanePlan, loaded: Loaded, expedite: Array | None, limit: Array | None
) -> Array | None:
    """The share of due parcels handed to carriers, cut to what those of each pool take."""
    if expedite is None or limit is None:
        return expedite
    share = at_most(at_least(expedite, 0.0), 1.0)
    wanted = gather_sum(loaded.left.parcels[1] * share, lanes.bins_by_pool)
    return share * take(fill_share(limit, wanted), lanes.pool_of_bins)


def join_parcels(
    params: Params, state: State, served: tuple[Array, ...], exogenous: Exogenous
) -> tuple[State, Array | None, Array | None]:
    """After accounting, sold units and background parcels join the bins with full slack.

    Parcels that reach a hub join the bins that were theirs on the way.

    Returns:
        The state, and what joined from outside: parcels and ft3, each (B, F), or None without
        trucks.
    """
    if state.parcels is None or state.parcel_volume is None:
        return state, None, None
    xp = namespace(state.parcels)
    by_lane = _by_lane(params, served, exogenous.promise)
    units = product_sum(by_lane)
    volume = weighted_sum(by_lane, params.a.parcel_volume)
    others = state.parcels.shape[1] - units.shape[1]
    if others:  # lanes on which nothing is sold
        none = units[:, :1] * 0.0
        units, volume = (concat([part] + [none] * others) for part in (units, volume))
    if exogenous.background_parcels is not None:
        units = units + exogenous.background_parcels
        volume = volume + exogenous.background_volume
    mix = params.a.slack_mix
    zeros = xp.zeros_like(state.parcels[:, :, :1])
    parcels = state.parcels + concat([zeros, units[:, :, None] * mix], axis=2)
    ft3 = state.parcel_volume + concat([zeros, volume[:, :, None] * mix], axis=2)
    fleet = state.freight
    if fleet is not None:
        if fleet.to_hub:
            parcels, ft3 = (
                _plus_at_hubs(params, bins, coming)
                for bins, coming in ((parcels, fleet.to_hub[0]), (ft3, fleet.to_hub_volume[0]))
            )
            fleet = fleet._replace(to_hub=fleet.to_hub[1:], to_hub_volume=fleet.to_hub_volume[1:])
        state = state._replace(freight=return_trucks(fleet))
    return state._replace(parcels=parcels, parcel_volume=ft3), units, volume


def _plus_at_hubs(params: Params, bins: Array, coming: Array) -> Array:
    """Bins (B, F, K+3) with what comes to the hub lanes, (B, E_hub, K+3)."""
    lanes = lane_plan(params)
    first, last = lanes.num_out, lanes.num_direct
    parts = [bins[:, :first], bins[:, first:last] + coming, bins[:, last:]]
    return concat([part for part in parts if part.shape[1]])


def _by_lane(params: Params, served: tuple[Array, ...], promise: Promise) -> Array:
    """Sold units by outbound lane, (B, E_out, P), from what each rank served."""
    lanes: dict[int, Array] = {}
    for rank, units in zip(params.ranks(promise), served, strict=True):
        for region, lane in enumerate(rank.rank.lane.tolist()):
            if lane >= 0:
                lanes[lane] = units[:, region]
    return stack([lanes[k] for k in sorted(lanes)], axis=1)
