"""How truck lanes and parcel lanes are numbered where the network has `Freight`."""

import functools
from typing import Any, NamedTuple

import numpy as np

from stockyard.envs.network.arrays import Array, SumPlan, concat
from stockyard.envs.network.params import Params


class LanePlan(NamedTuple):
    """Where each kind of lane stands among truck lanes (L) and parcel lanes (F)."""

    transfers: slice  # among truck lanes
    direct: slice  # outbound and hub lanes among truck lanes, and as many first parcel lanes
    linehauls: slice  # among truck lanes
    has_pallets: bool  # transfer lanes are the last parcel lanes
    num_out: int  # E_out
    num_direct: int  # E_out + E_hub
    truck_lane: Any  # (F,) index of the truck lane of each parcel lane
    bins_by_pool: SumPlan  # parcel lanes to pools
    pool_of_bins: Any  # (F,) index

    @property
    def num_linehauls(self) -> int:
        """E_line."""
        return int(self.linehauls.stop - self.linehauls.start)

    def on_trucks(self, bins: Array, linehauls: Array | None, staged: Array | None) -> Array:
        """Joins what parcel lanes (B, F), linehauls and staged transfers have, (B, L)."""
        moves = self.transfers.stop
        none = bins[:, :1] * 0.0
        pallets = bins[:, self.num_direct :]
        if not self.has_pallets:
            pallets = concat([none] * moves) if moves else None
        if staged is not None and pallets is not None:
            pallets = pallets + staged
        lines = [none] * self.num_linehauls if linehauls is None else [linehauls]
        first = [] if pallets is None else [pallets]
        return concat([*first, bins[:, : self.num_direct], *lines])

    def room_of_bins(self, room: Array, staged: Array | None) -> Array:
        """What trucks (B, L) ft3 leave for parcel lanes once transfers are loaded, (B, F)."""
        direct = room[:, self.direct]
        if not self.has_pallets:
            return direct
        free = room[:, self.transfers]
        return concat([direct, free if staged is None else free - staged])


@functools.lru_cache(maxsize=64)
def lane_plan(params: Params) -> LanePlan:
    """The numbering of a network with `Freight`."""
    network = params.network
    freight = network.freight
    assert freight is not None
    moves, outs = len(network.transfers.tail), len(network.outbound.node)
    direct = outs + freight.num_hub_lanes
    lanes = list(range(moves, moves + direct))
    if freight.has_pallets:
        lanes += list(range(moves))
    pool = freight.pool[np.array(lanes)]
    return LanePlan(
        transfers=slice(0, moves),
        direct=slice(moves, moves + direct),
        linehauls=slice(moves + direct, moves + direct + freight.num_linehauls),
        has_pallets=freight.has_pallets,
        num_out=outs,
        num_direct=direct,
        truck_lane=params.index(lanes),
        bins_by_pool=SumPlan.of(pool, len(freight.pools)),
        pool_of_bins=params.index(pool),
    )
