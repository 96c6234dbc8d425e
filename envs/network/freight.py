"""Trucks as a network runs them: pools, drivers' hours, sort hubs, and what else trucks carry.

A network without `Freight` has trucks that come from nowhere and never return: lanes with a size of
truck and a limit by period, as in the textbook. `Freight` adds what lanes compete for.

Truck lanes (L) are numbered transfer lanes first, then outbound lanes, hub lanes (from a sort hub
to a region) and linehauls (from a node to a hub). Parcel lanes (F), which have bins of parcels by
slack, are outbound lanes, hub lanes and, where they carry pallets, transfer lanes.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stockyard.envs.network.checks import (
    Floats,
    Ints,
    Values,
    check,
    floats,
    indices,
    ints,
)
from stockyard.envs.network.packing import Items

if TYPE_CHECKING:
    from stockyard.envs.network.topology import Network


@dataclasses.dataclass(frozen=True, eq=False)
class Hubs:
    """Sort hubs: parcels of several nodes and regions share linehauls to them and trucks from them.

    A parcel on the way through a hub loses slack: it reaches the bins of its hub lane after the
    linehaul's transit with `via_slack` periods less to its last on-time dispatch than it had when
    it left, so only parcels with at least that much may take it.
    """

    names: Sequence[str]  # of the hubs
    hub: Values  # (E_hub,) hub that a hub lane leaves from
    region: Values  # (E_hub,) region that a hub lane serves
    truck_volume: Values  # (E_hub,) ft3
    line_tail: Values  # (E_line,) node that sends
    line_hub: Values  # (E_line,) hub that receives
    line_transit: Values  # (E_line,) periods under way and being sorted, >= 1
    line_truck_volume: Values  # (E_line,) ft3
    via_line: Values  # (E_out,) linehaul that parcels of an outbound lane may take; -1: none
    via_lane: Values  # (E_out,) hub lane by which they go on; -1: none
    via_slack: Values  # (E_out,) periods of slack that the way through the hub costs


@dataclasses.dataclass(frozen=True, eq=False)
class Freight:
    """What the truck lanes of a network share, and what they carry beside its own products.

    Raises:
        ValueError: when the network is built, naming the field that does not fit.
    """

    pools: Sequence[str]  # G names of the fleets, each with its drivers
    pool: Values  # (L,) pool whose trucks a lane takes
    round_trip: Values  # (L,) periods until a truck can be sent again, >= 1
    spot_cost: Values  # (L,) USD for a hired truck, which comes once
    duty_hours: Values = 0.0  # (L,) of a driver, per trip
    most_hours: Values = np.inf  # (G,) drivers' hours that can be saved up; inf: not limited
    hubs: Hubs | None = None
    slack_mix: Values = None  # (F, K+2) by parcel lane; None: the network's own on all
    # whether transfer lanes carry pallets of the rest of the assortment, with bins of their own
    has_pallets: bool = False
    fee_weight: Values = 1.0  # (F,) multiple of the fees for late and expedited parcels
    # (F,) USD per ft3 that waits: what moving it will cost, charged ahead of time (`accounting`)
    value_per_ft3: Values = 0.0
    # what parcels are for whoever loads them on outbound and hub lanes and linehauls; None: volume
    items: Items | None = None

    def checked(self, network: "Network") -> "Freight":
        """The same with arrays in their shapes.

        Raises:
            ValueError: naming the field that does not fit the network.
        """
        outs, moves = len(network.outbound.node), len(network.transfers.tail)
        hubs = None if self.hubs is None else _checked_hubs(self.hubs, network)
        extra = (0, 0) if hubs is None else (len(hubs.region), len(hubs.line_tail))
        lanes = moves + outs + sum(extra)
        parcel_lanes = outs + extra[0] + (moves if self.has_pallets else 0)
        check(bool(len(network.slack_mix)), "slack_mix", "is needed where there is freight")
        check(len(self.pools) > 0, "freight.pools", "must not be empty")
        check(len(set(self.pools)) == len(self.pools), "freight.pools", "must be unique names")
        bins = len(network.slack_mix) + 1
        given = self.slack_mix
        if given is None:
            given = (*network.slack_mix, network.undated_share)
        mix = floats(given, (parcel_lanes, bins), "freight.slack_mix")
        sums = bool((abs(mix.sum(axis=1) - 1.0) < 1e-9).all())
        check(sums, "freight.slack_mix", "must sum to 1")
        return dataclasses.replace(
            self,
            pool=ints(self.pool, (lanes,), "freight.pool", 0, len(self.pools) - 1),
            round_trip=ints(self.round_trip, (lanes,), "freight.round_trip", 1, 9999),
            spot_cost=floats(self.spot_cost, (lanes,), "freight.spot_cost"),
            duty_hours=floats(self.duty_hours, (lanes,), "freight.duty_hours"),
            most_hours=floats(self.most_hours, (len(self.pools),), "freight.most_hours"),
            hubs=hubs,
            slack_mix=mix,
            fee_weight=floats(self.fee_weight, (parcel_lanes,), "freight.fee_weight"),
            value_per_ft3=floats(self.value_per_ft3, (parcel_lanes,), "freight.value_per_ft3"),
        )

    @property
    def num_hub_lanes(self) -> int:
        """Number of lanes from hubs to regions, E_hub."""
        return 0 if self.hubs is None else len(self.hubs.region)

    @property
    def num_linehauls(self) -> int:
        """Number of lanes from nodes to hubs, E_line."""
        return 0 if self.hubs is None else len(self.hubs.line_tail)

    @property
    def limits_hours(self) -> bool:
        """Whether drivers' hours limit what a pool sends."""
        return bool(np.isfinite(self.most_hours).any())


def _checked_hubs(hubs: Hubs, network: "Network") -> Hubs:
    outs = (len(network.outbound.node),)
    region = indices(hubs.region, "freight.hubs.region", network.num_regions)
    tail = indices(hubs.line_tail, "freight.hubs.line_tail", network.num_nodes)
    lanes, lines = region.shape, tail.shape
    line = ints(hubs.via_line, outs, "freight.hubs.via_line", -1, len(tail) - 1)
    lane = ints(hubs.via_lane, outs, "freight.hubs.via_lane", -1, len(region) - 1)
    transit = ints(hubs.line_transit, lines, "freight.hubs.line_transit", 1, 9999)
    slack = ints(hubs.via_slack, outs, "freight.hubs.via_slack", 0, 9999)
    check(bool(((line < 0) == (lane < 0)).all()), "freight.hubs.via_lane", "goes with via_line")
    there = line >= 0
    own: Ints = network.outbound.node[there]
    check(bool((tail[line[there]] == own).all()), "freight.hubs.via_line", "leaves another node")
    served: Ints = network.outbound.region[there]
    same = bool((region[lane[there]] == served).all())
    check(same, "freight.hubs.via_lane", "serves another region")
    hub = ints(hubs.hub, lanes, "freight.hubs.hub", 0, len(hubs.names) - 1)
    line_hub = ints(hubs.line_hub, lines, "freight.hubs.line_hub", 0, len(hubs.names) - 1)
    meet = line_hub[line[there]] == hub[lane[there]]
    check(bool(meet.all()), "freight.hubs.via_lane", "leaves another hub than the linehaul reaches")
    sizes = {
        "truck_volume": floats(hubs.truck_volume, lanes, "freight.hubs.truck_volume"),
        "line_truck_volume": floats(
            hubs.line_truck_volume, lines, "freight.hubs.line_truck_volume"
        ),
    }
    for field, size in sizes.items():
        finite = bool((np.isfinite(size) & (size > 0)).all())
        check(finite, f"freight.hubs.{field}", "must be finite and > 0")
    return Hubs(
        names=tuple(hubs.names),
        hub=hub,
        region=region,
        line_tail=tail,
        line_hub=line_hub,
        line_transit=transit,
        via_line=line,
        via_lane=lane,
        via_slack=slack,
        **sizes,
    )


def truck_volumes(network: "Network") -> Floats:
    """What a truck of each truck lane takes, (L,) ft3; inf where a lane needs none."""
    parts = [network.transfers.truck_volume, network.outbound.truck_volume]
    if network.freight is not None and network.freight.hubs is not None:
        parts += [network.freight.hubs.truck_volume, network.freight.hubs.line_truck_volume]
    return np.concatenate(parts)


def truck_lane_names(network: "Network") -> tuple[str, ...]:
    """Names of the truck lanes, which key what happens on them."""
    lanes, nodes = network.transfers, network.nodes
    names = [f"{nodes[t]} > {nodes[h]}" for t, h in zip(lanes.tail, lanes.head, strict=True)]
    names += [
        f"{nodes[n]} > {network.regions[r]}"
        for n, r in zip(network.outbound.node, network.outbound.region, strict=True)
    ]
    hubs = None if network.freight is None else network.freight.hubs
    if hubs is not None:
        names += [
            f"{hubs.names[h]} > {network.regions[r]}"
            for h, r in zip(hubs.hub, hubs.region, strict=True)
        ]
        names += [
            f"{nodes[n]} > {hubs.names[h]}"
            for n, h in zip(hubs.line_tail, hubs.line_hub, strict=True)
        ]
    return tuple(names)


def parcel_lane_names(network: "Network") -> tuple[str, ...]:
    """Names of the parcel lanes, in their order."""
    freight, moves = network.freight, len(network.transfers.tail)
    names = truck_lane_names(network)
    if freight is None:
        return names[moves:]
    direct = names[moves : moves + len(network.outbound.node) + freight.num_hub_lanes]
    return (*direct, *names[:moves]) if freight.has_pallets else direct
