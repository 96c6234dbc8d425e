"""Rules that say how many trucks go, from what waits on each lane and what of it is due."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from stockyard.envs.network.arrays import Array, as_like, at_least, namespace, weighted_sum
from stockyard.envs.network.dispatch import waiting_on_lanes
from stockyard.envs.network.lanes import lane_plan
from stockyard.envs.network.params import Params, array_maker
from stockyard.envs.network.state import Revealed, State, TruckPlan

ROUNDING = 1e-6
"""Truckloads that rounding to whole trucks forgives."""


class Loads(NamedTuple):
    """What waits on the truck lanes, (B, L) truckloads each; linehauls count what may take them."""

    waiting: Array
    due: Array  # it cannot wait for the next wave


def loads_of(
    params: Params, volume: Array, staged: Array | None, via_hub: Array | None = None
) -> Loads:
    """What waits where the network has `Freight`.

    Args:
        params: the network.
        volume: (B, F, K+3) ft3 in bins.
        staged: (B, E_tr) ft3 of the network's own products that wait; None: none.
        via_hub: (B, E_out) share of each lane's parcels that may take the linehaul; None: none.
    """
    waiting, due = waiting_on_lanes(params, volume, via_hub, staged)
    size = at_least(params.a.truck_volume, 1.0)
    return Loads(waiting / size, due / size)


def trucks_for(loads: Loads, hold: Array, patience: Array, fluid: bool = False) -> Array:
    """Trucks that what is due asks for, and full ones besides, (B, L).

    n = max(ceil(due - patience), floor(waiting - hold)), in truckloads.

    Where trucks are fluid, n = max(due - patience, waiting - hold - 1/2): on average a floor takes
    half a truck away.

    Args:
        loads: what waits.
        hold: truckloads that are held back; below 0, trucks leave that are not quite full.
        patience: truckloads of what is due that no truck is sent for.
        fluid: whether trucks are real numbers, for gradients.
    """
    xp = namespace(loads.due)
    if fluid:
        needed = loads.due - at_least(patience, 0.0)
        return at_least(xp.maximum(needed, loads.waiting - hold - 0.5), 0.0)
    needed = xp.ceil(loads.due - at_least(patience, 0.0) - ROUNDING)
    full = xp.floor(loads.waiting - hold + ROUNDING)
    return at_least(xp.maximum(needed, full), 0.0)


def break_even(params: Params) -> Array:
    """Truckloads whose parcels cost a carrier as much as a truck does, (L,); hired: twice it."""
    return _break_even(params)


@functools.lru_cache(maxsize=64)
def _break_even(params: Params) -> Array:
    network, economics = params.network, params.economics
    freight = network.freight
    assert freight is not None
    make = array_maker(params.backend, params.dtype, params.device)
    size = network.truck_volume
    cost = np.broadcast_to(np.asarray(economics.cost_per_truck, dtype=np.float64), size.shape)
    parcel = network.parcel_volume_fixed + network.parcel_volume_factor * float(
        np.median(network.products.volume)
    )
    lanes = lane_plan(params)
    weight = np.ones(len(size))
    if lanes.has_pallets:
        weight[lanes.transfers] = freight.fee_weight[lanes.num_direct :]
    fee = economics.expedite_per_parcel * weight * size / parcel
    return make(np.minimum(cost / np.maximum(fee, 1e-9), 1.0))


class Thresholds(NamedTuple):
    """What decides trucks, arrays that broadcast to (B, L), (B, L), (B, L) and (B, E_out)."""

    hold: Array  # truckloads held back
    patience: Array  # truckloads of what is due that no truck is sent for
    spot_patience: Array  # truckloads of what is due that no truck is hired for
    via_hub: Array | None  # share of each lane's parcels that may take the linehaul


def staged_volume(params: Params, state: State) -> Array | None:
    """What waits of the network's own products for a truck, (B, E_tr) ft3; None: none."""
    return None if state.staged is None else weighted_sum(state.staged, params.a.volume)


def plan_by(
    params: Params, volume: Array, staged: Array | None, thresholds: Thresholds
) -> TruckPlan:
    """Trucks by `trucks_for`, hired ones for what is due; carriers take what is left of that.

    Args:
        params: the network.
        volume: (B, F, K+3) ft3 in bins.
        staged: (B, E_tr) ft3 of the network's own products that wait; None: none.
        thresholds: what decides.
    """
    loads, fluid = loads_of(params, volume, staged, thresholds.via_hub), params.fluid_trucks
    only_due = loads._replace(waiting=loads.due * 0.0)
    return TruckPlan(
        trucks=trucks_for(loads, thresholds.hold, thresholds.patience, fluid),
        expedite=volume[:, :, 0] * 0.0 + 1.0,
        spot=trucks_for(only_due, thresholds.hold * 0.0, thresholds.spot_patience, fluid),
        via_hub=thresholds.via_hub,
    )


@dataclasses.dataclass(frozen=True)
class HoldRule:
    """Trucks for what is due, filled up with what may wait, and every truck that is full enough.

    With the defaults: due and top-up. What is due but fills less of a truck than pays for one goes
    by carrier; where a pool has no truck left, one is hired if that pays.
    """

    hold: Any = 0.0  # scalar or (L,) truckloads held back
    patience: Any = 1.0  # scalar or (L,) multiple of `break_even`
    spot_patience: Any = 2.0  # scalar or (L,) multiple of `break_even`: a hired truck costs more
    via_hub: Any = 0.0  # scalar or (E_out,) 1 where parcels that direct trucks leave take linehauls

    def thresholds(self, params: Params, state: State, revealed: Revealed) -> Thresholds:
        """The thresholds, the same for all replicas."""
        even = break_even(params)
        like = state.on_hand[:, 0, :1] * 0.0
        via = None
        if lane_plan(params).num_linehauls and np.any(self.via_hub):
            via = like + as_like(np.broadcast_to(self.via_hub, self._outs(params)), like)
        return Thresholds(
            hold=like + as_like(self.hold, even),
            patience=like + even * as_like(self.patience, even),
            spot_patience=like + even * as_like(self.spot_patience, even),
            via_hub=via,
        )

    def _outs(self, params: Params) -> tuple[int]:
        return (len(params.network.outbound.node),)

    def __call__(self, params: Params, state: State, revealed: Revealed) -> TruckPlan:
        """Returns the plan."""
        thresholds = self.thresholds(params, state, revealed)
        return plan_by(params, state.parcel_volume, staged_volume(params, state), thresholds)
