"""The way through sort hubs: linehauls take what direct trucks left, and hubs send it on.

A parcel that takes a linehaul is counted by the bin that it will join at the hub, its slack less
what the way costs; on the linehaul and at the hub, parcels of several nodes and regions meet.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from stockyard.envs.network.arrays import (
    Array,
    SumPlan,
    at_least,
    at_most,
    concat,
    fill_share,
    gather_sum,
    product_sum,
    stack,
    take,
)
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.state import FreightState


class HubPlan(NamedTuple):
    """The ways through hubs in the arrays of a backend."""

    by_line: SumPlan  # outbound lanes to linehauls
    by_lane: SumPlan  # outbound lanes to hub lanes
    line_of: Any  # (E_out,) index of the linehaul; 0 where there is none
    # (E_out * (K+3),) index of the bin whose parcels join each bin at the hub, and the way back;
    # the last index stands for none
    joins: Any
    leaves: Any
    transits: tuple[
        tuple[int, Array], ...
    ]  # (periods, (E_out, 1) 1 for lanes with such a linehaul)


class Riders(NamedTuple):
    """What may take linehauls, (B, E_line) ft3."""

    waiting: Array
    due: Array  # it cannot take a later one


@functools.lru_cache(maxsize=64)
def hub_plan(params: Params) -> HubPlan:
    """The ways through the hubs of a network that has some."""
    network = params.network
    assert network.freight is not None and network.freight.hubs is not None
    hubs, bins = network.freight.hubs, len(network.slack_mix) + 2
    make = array_maker(params.backend, params.dtype, params.device)
    there = hubs.via_line >= 0
    outs, last = len(there), bins - 1
    joins, leaves = (np.full((outs, bins), outs * bins) for _ in range(2))
    for lane in np.flatnonzero(there).tolist():
        cost, first = int(hubs.via_slack[lane]), lane * bins
        for k in range(1, last - cost):  # nobody joins late
            joins[lane, k], leaves[lane, k + cost] = first + k + cost, first + k
        joins[lane, last] = leaves[lane, last] = first + last
    transit = np.where(there, hubs.line_transit[hubs.via_line], 0)
    return HubPlan(
        by_line=SumPlan.of(hubs.via_line, len(hubs.line_tail)),
        by_lane=SumPlan.of(hubs.via_lane, len(hubs.region)),
        line_of=params.index(np.maximum(hubs.via_line, 0)),
        joins=params.index(joins.ravel()),
        leaves=params.index(leaves.ravel()),
        transits=tuple(
            (k, make((transit == k)[:, None])) for k in sorted(set(transit[there].tolist()))
        ),
    )


def _rearranged(bins: Array, index: Any) -> Array:
    """Bins (B, E_out, K+3) put where an index of their entries says."""
    flat = bins.reshape(bins.shape[0], -1)
    return take(concat([flat, flat[:, :1] * 0.0]), index).reshape(bins.shape)


def riders(params: Params, bins: Array, via: Array) -> Array:
    """What may take linehauls, by the bin that it would join, (B, E_out, K+3).

    Args:
        params: the network.
        bins: (B, F, K+3), of which outbound lanes are the first.
        via: (B, E_out) share of each lane's parcels that may.
    """
    outs = via.shape[1]
    share = at_most(at_least(via, 0.0), 1.0)
    return _rearranged(bins[:, :outs], hub_plan(params).joins) * share[:, :, None]


def rider_volumes(params: Params, volume: Array, via: Array | None) -> Riders | None:
    """What may take linehauls of bins (B, F, K+3) ft3, before trucks are loaded; None: nothing."""
    if via is None:
        return None
    able, by_line = riders(params, volume, via), hub_plan(params).by_line
    return Riders(gather_sum(product_sum(able), by_line), gather_sum(able[:, :, 1], by_line))


class Ridden(NamedTuple):
    """What linehauls took."""

    parcels: Array  # (B, E_out, K+3) by the bin that they join
    volume: Array  # (B, E_out, K+3) ft3
    load: Array  # (B, E_line) ft3


def load_linehauls(
    params: Params, parcels: Array, volume: Array, via: Array | None, room: Array
) -> tuple[Array, Array, Ridden]:
    """Loads linehauls with what direct trucks left, those first that will be due first.

    Args:
        params: the network.
        parcels: (B, F, K+3) that are left.
        volume: (B, F, K+3) ft3 of them.
        via: (B, E_out) share of each lane's parcels that may go; None: none.
        room: (B, E_line) ft3.

    Returns:
        The parcels and the volume that are left now, and what went.
    """
    plan, outs = hub_plan(params), len(params.network.outbound.node)
    if via is None:
        none = volume[:, :outs] * 0.0
        return parcels, volume, Ridden(none, none, room * 0.0)
    able, able_volume = riders(params, parcels, via), riders(params, volume, via)
    wanted, shares, load = gather_sum(able_volume, plan.by_line), [], room * 0.0
    for k in range(wanted.shape[2]):
        share = fill_share(room, wanted[:, :, k])
        taken = wanted[:, :, k] * share
        room, load = at_least(room - taken, 0.0), load + taken
        shares.append(take(share, plan.line_of))
    share = stack(shares, axis=2)
    gone, gone_volume = able * share, able_volume * share

    def without(bins: Array, moved: Array) -> Array:
        rest = at_least(bins[:, :outs] - _rearranged(moved, plan.leaves), 0.0)  # for rounding
        return concat([rest, bins[:, outs:]])

    return (
        without(parcels, gone),
        without(volume, gone_volume),
        Ridden(gone, gone_volume, load),
    )


def depart_to_hubs(params: Params, state: FreightState, ridden: Ridden) -> FreightState:
    """Puts what linehauls took on its way to the hubs."""
    plan = hub_plan(params)
    return state._replace(
        to_hub=_under_way(plan, state.to_hub, ridden.parcels),
        to_hub_volume=_under_way(plan, state.to_hub_volume, ridden.volume),
    )


def _under_way(plan: HubPlan, slots: tuple[Array, ...], units: Array) -> tuple[Array, ...]:
    filled: list[Array | None] = [*slots]
    for periods, mask in plan.transits:
        part = gather_sum(units * mask, plan.by_lane)
        filled += [None] * (periods - len(filled))
        had = filled[periods - 1]
        filled[periods - 1] = part if had is None else had + part
    nothing = gather_sum(units, plan.by_lane) * 0.0
    return tuple(nothing if slot is None else slot for slot in filled)
