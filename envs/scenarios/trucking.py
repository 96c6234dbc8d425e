"""Trucks for a retail world: pools, a sort hub, pallets, and the volume that fills them.

The retail world sells, orders and moves its own products as ever, at four waves a day; most of what
its trucks carry is the rest of the assortment.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.background import BackgroundFreight, ReturnDelays
from stockyard.envs.network.capacities import Capacities, CapacityChange
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.forecast import MartingaleForecaster
from stockyard.envs.network.freight import Freight, Hubs, parcel_lane_names
from stockyard.envs.network.martingale import MartingaleDemand
from stockyard.envs.network.packing import Items
from stockyard.envs.network.shocks import DemandShock
from stockyard.envs.network.topology import Network
from stockyard.envs.network.truck_rules import HoldRule
from stockyard.envs.network.world import Opening, World
from stockyard.envs.scenarios import changes
from stockyard.envs.scenarios.checks import POOL_LIMITS
from stockyard.envs.scenarios.freight_layout import FreightLayout, lay_out_freight
from stockyard.envs.scenarios.presets import Retail, Size, retail_of, size_of
from stockyard.envs.scenarios.retail import build_retail
from stockyard.envs.scenarios.scenario import Scenario
from stockyard.envs.scenarios.trucking_presets import (
    NUM_HUBS,
    Standing,
    Trucking,
    trucking_of,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def build_trucking(scenario: Scenario, size: str, demand: Any = None) -> World:
    """Builds the world of a scenario with trucks.

    Args:
        scenario: what is particular to it.
        size: "small", "medium" or "large".
        demand: a demand process instead of the scenario's own.
    """
    dims, retail = size_of(size, "truck_fill"), retail_of("truck_fill", scenario.retail)
    layout = lay_out_freight(dims, NUM_HUBS[size])
    world = build_retail(scenario, size, "truck_fill", demand, layout.nodes)
    return with_trucks(world, scenario, dims, retail, layout)


def with_trucks(
    world: World,
    scenario: Scenario,
    dims: Size,
    retail: Retail,
    layout: FreightLayout,
) -> World:
    """The same world at several waves a day, with trucks.

    Args:
        world: a retail world of one period a day.
        scenario: what is particular to it.
        dims: its size.
        retail: its parameters.
        layout: where things are.
    """
    trucking = trucking_of(scenario.trucking)
    fitted = _Fitted(trucking, world.network, layout, len(trucking.waves))
    network, h = fitted.network, fitted.h
    demand = world.source.demand
    if not isinstance(demand, MartingaleDemand):
        raise ValueError("demand: trucks need generated demand")
    periods = demand.num_periods * h
    day, wave = np.arange(periods) // h, np.arange(periods) % h
    course = np.asarray(trucking.waves)[wave]
    demand = dataclasses.replace(demand, baseline=demand.baseline[day] * course[:, None])
    day_of_week = 1.0 + retail.day_of_week * np.cos(2.0 * np.pi * (day % 7 - 5.5) / 7.0)
    background = BackgroundFreight(
        names=parcel_lane_names(network),
        mean=(day_of_week * course)[:, None] * fitted.volume_per_day,
        parcel_volume=np.full(network.num_parcel_lanes, fitted.parcel_ft3),
        sd_by_days_ahead=trucking.sd_by_days_ahead,
        groups=fitted.groups,
        common_share=trucking.common_share,
        wave_shape=1.0 / max(trucking.wave_sd, 1e-3) ** 2,
        shocks=_shocks(scenario, dims, retail, network.num_parcel_lanes),
    )
    source = dataclasses.replace(
        world.source,
        network=network,
        demand=demand,
        forecaster=MartingaleForecaster(demand, h),
        capacities=_capacities(world.source.capacities, scenario, dims, retail, fitted, periods),
        epoch_periods=world.source.epoch_periods * h,
        # freight alone values no stock: the shortest forecast will do
        outlook_days=world.source.outlook_days if trucking.keeps_retail_books else (7,),
        outlook_periods=1,
        promises=tuple(p for p in world.source.promises for _ in range(h)),
        background=background,
        returns=ReturnDelays(trucking.return_delays, trucking.return_shares),
    )
    opening = world.opening
    empty = np.zeros_like(opening.inbound[0])
    inbound = [empty] * (h * len(opening.inbound))
    for k, units in enumerate(opening.inbound):
        inbound[h * (k + 1) - 1] = units
    return dataclasses.replace(
        world,
        network=network,
        economics=_economics(scenario, trucking, fitted),
        source=source,
        opening=Opening(opening.on_hand, tuple(inbound)),
        rules={**world.rules, "dispatch": _standing_rule(network)},
        periods_per_step=1,
        horizon=world.horizon * h,
        burn_in=world.burn_in * h,
        reward_scale=fitted.daily_cost / h,
    )


def _standing_rule(network: Network) -> HoldRule:
    """The hold rule with the numbers of `Standing`."""
    standing, freight = Standing(), network.freight
    assert freight is not None
    kinds = [len(network.transfers.tail), len(network.outbound.node)]
    kinds += [freight.num_hub_lanes, freight.num_linehauls]

    def by_lane(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(np.repeat(values, kinds).tolist())

    via: Any = 0.0
    if freight.hubs is not None:
        there = np.asarray(freight.hubs.via_line) >= 0
        near = there & (np.asarray(freight.hubs.via_slack) <= standing.hub_slack)
        via = tuple(near.astype(float).tolist())
    return HoldRule(
        hold=by_lane(standing.hold),
        patience=by_lane(standing.patience),
        spot_patience=by_lane(standing.spot_patience),
        via_hub=via,
    )


class _Fitted:
    """The network with trucks, and the mean work of its lanes and pools."""

    def __init__(self, trucking: Trucking, plain: Network, layout: FreightLayout, h: int) -> None:
        """Finds lanes, costs and the volume that each lane carries on a mean day."""
        self.trucking, self.h = trucking, h
        lanes = plain.transfers
        moves, outs = len(lanes.tail), len(plain.outbound.node)
        hubs, miles = _hubs(trucking, plain, layout)
        line_miles, hub_miles = (np.zeros(0), np.zeros(0)) if hubs is None else miles
        move_miles = layout.nodes.node_distance[lanes.tail, lanes.head]
        self.miles = np.concatenate((move_miles, plain.outbound.distance, hub_miles, line_miles))
        hours = 2.0 * self.miles / (trucking.miles_per_wave * h / 24.0) + trucking.stop_hours
        self.round_trip = np.maximum(np.ceil(hours * h / 24.0), 1).astype(np.int64)
        self.cost = trucking.truck_cost + trucking.cost_per_mile * self.miles
        by_weight = trucking.payload_lb / np.array(
            [trucking.pallet_lb_per_ft3, trucking.parcel_lb_per_ft3]
        )
        pallet_ft3, parcel_ft3 = np.minimum(trucking.truck_ft3, by_weight)
        self.size = np.full(len(self.miles), parcel_ft3)
        self.size[:moves] = pallet_ft3
        rate = 0.25 * 1.5 + 0.35  # a parcel of median volume
        self.parcel_ft3 = rate
        self.volume_per_day = _volumes(trucking, plain, layout, hubs, moves, pallet_ft3)
        has_pallets = trucking.pallet_truckloads_per_day > 0.0
        pool, pools = _pools(plain, hubs)
        busy = self._busy(plain, hubs, moves, has_pallets)
        self.trips = busy  # (L,) trucks a day
        count = len(pools)
        self.fleet = np.zeros(count)
        self.hours = np.zeros(count)
        np.add.at(self.fleet, pool, busy * self.round_trip / h)
        np.add.at(self.hours, pool, busy * hours)
        self.parcels_per_day = np.zeros(count)
        parcels = outs + len(hub_miles)
        lanes_of = np.arange(moves, moves + parcels)
        np.add.at(self.parcels_per_day, pool[lanes_of], self.volume_per_day[:parcels] / rate)
        value = self.cost / (self.size * trucking.fill_of_value)
        order = [*range(moves, moves + outs + len(hub_miles))]
        if has_pallets:
            order += list(range(moves))
        weight = np.ones(len(order))
        if has_pallets:
            weight[-moves:] = trucking.pallet_fee_weight
        limited = trucking.hours_days > 0.0
        freight = Freight(
            pools=pools,
            pool=pool,
            round_trip=self.round_trip,
            spot_cost=self.cost * trucking.spot_factor,
            duty_hours=hours,
            most_hours=np.ceil(self.hours * trucking.hours_days) if limited else np.inf,
            hubs=hubs,
            slack_mix=_mixes(trucking, outs + len(hub_miles), moves if has_pallets else 0),
            has_pallets=has_pallets,
            fee_weight=weight,
            value_per_ft3=value[order],
            items=Items(trucking.item_ft3, trucking.item_log_sd, trucking.loader)
            if trucking.loading == "items"
            else None,
        )
        inbound = dataclasses.replace(plain.inbound, lead_time=plain.inbound.lead_time * h)
        if not trucking.keeps_retail_books:  # goods are paid for elsewhere
            inbound = dataclasses.replace(inbound, unit_cost=0.0)
        transit = np.maximum(np.ceil(move_miles / trucking.miles_per_wave), 1).astype(np.int64)
        mix = _mix(trucking.slack_waves, trucking.slack_shares, _most_slack(trucking))
        self.network = dataclasses.replace(
            plain,
            inbound=inbound,
            transfers=dataclasses.replace(
                lanes, transit=transit, truck_volume=self.size[:moves], cost_per_unit=0.0
            ),
            # parcels go by truck, not at a tariff: of equally fast centres the nearest serves
            outbound=dataclasses.replace(
                plain.outbound, tariff=0.0, truck_volume=self.size[moves : moves + outs]
            ),
            periods_per_day=h,
            slack_mix=tuple(mix.tolist()),
            freight=freight,
        )
        near = [f"region {r}" for r in plain.outbound.region]
        if hubs is not None:
            near += [f"region {r}" for r in hubs.region]
        if has_pallets:
            near += ["pallets"] * moves
        self.groups = tuple(near)
        self.daily_cost = float((busy * self.cost).sum())

    def _busy(self, plain: Network, hubs: Hubs | None, moves: int, has_pallets: bool) -> Floats:
        """Trucks a day on each truck lane, if full ones ran and the hub took its share."""
        trucking, outs = self.trucking, len(plain.outbound.node)
        volume = np.zeros(len(self.miles))
        parcels = self.volume_per_day[: len(self.volume_per_day) - moves * has_pallets]
        volume[moves : moves + len(parcels)] = parcels
        if has_pallets:
            volume[:moves] = self.volume_per_day[-moves:]
        if hubs is not None:
            through = self.volume_per_day[:outs] * trucking.hub_share * _on_the_way(hubs)
            volume[moves : moves + outs] -= through
            for e in np.flatnonzero(hubs.via_line >= 0):
                volume[moves + outs + hubs.via_lane[e]] += through[e]
                volume[moves + outs + len(hubs.region) + hubs.via_line[e]] += through[e]
        return np.asarray(volume / self.size)


def _on_the_way(hubs: Hubs) -> Floats:
    """(E_out,) 1 for lanes whose way through the hub costs at most a wave."""
    near = (np.asarray(hubs.via_line) >= 0) & (np.asarray(hubs.via_slack) <= 1)
    return near.astype(np.float64)


def _hubs(
    trucking: Trucking, plain: Network, layout: FreightLayout
) -> tuple[Hubs | None, tuple[Floats, Floats]]:
    """The ways through hubs, and the miles of linehauls and of hub lanes."""
    nothing = (np.zeros(0), np.zeros(0))
    if not trucking.has_hub or not len(layout.hub_names):
        return None, nothing
    outbound = plain.outbound
    lines: dict[tuple[int, int], int] = {}
    lanes: dict[tuple[int, int], int] = {}
    via_line, via_lane, via_slack = [], [], []
    for node, region in zip(outbound.node.tolist(), outbound.region.tolist(), strict=True):
        to, on = layout.to_hub[node], layout.from_hub[:, region]
        near = np.argsort(to, kind="stable")[: layout.hubs_per_node]
        hub = int(near[np.argmin((to + on)[near])])
        via_line.append(lines.setdefault((node, hub), len(lines)))
        via_lane.append(lanes.setdefault((hub, region), len(lanes)))
        legs = np.array([to[hub], on[hub], layout.nodes.distance[node, region]])
        first, second, direct = np.maximum(np.ceil(legs / trucking.miles_per_wave), 1)
        via_slack.append(int(max(first + second - direct, 0)))
    line_miles = np.array([layout.to_hub[n, h] for n, h in lines])
    hub_miles = np.array([layout.from_hub[h, r] for h, r in lanes])
    size = min(trucking.truck_ft3, trucking.payload_lb / trucking.parcel_lb_per_ft3)
    transit = np.maximum(np.ceil(line_miles / trucking.miles_per_wave), 1).astype(np.int64)
    hubs = Hubs(
        names=layout.hub_names,
        hub=[h for h, _ in lanes],
        region=[r for _, r in lanes],
        truck_volume=size,
        line_tail=[n for n, _ in lines],
        line_hub=[h for _, h in lines],
        line_transit=transit,
        line_truck_volume=size,
        via_line=np.array(via_line),
        via_lane=np.array(via_lane),
        via_slack=np.array(via_slack),
    )
    return hubs, (line_miles, hub_miles)


def _pools(plain: Network, hubs: Hubs | None) -> tuple[Ints, tuple[str, ...]]:
    """Pool of every truck lane: a centre's trucks also fetch its goods; hubs have their own."""
    centres = sorted(set(plain.outbound.node.tolist()))
    pool_of = {node: k for k, node in enumerate(centres)}
    pools = [plain.nodes[node] for node in centres]
    pool = [pool_of[int(h)] for h in plain.transfers.head]
    pool += [pool_of[int(n)] for n in plain.outbound.node]
    if hubs is not None:
        pool += [len(centres) + int(h) for h in hubs.hub]
        pool += [pool_of[int(n)] for n in hubs.line_tail]
        pools += list(hubs.names)
    return np.array(pool), tuple(pools)


def _volumes(
    trucking: Trucking,
    plain: Network,
    layout: FreightLayout,
    hubs: Hubs | None,
    moves: int,
    pallet_ft3: float,
) -> Floats:
    """Mean background volume of each parcel lane, (F,) ft3 a day."""
    node, region = plain.outbound.node, plain.outbound.region
    share = np.zeros(len(node))
    for r in range(plain.num_regions):
        own = np.flatnonzero(region == r)
        part = np.full(len(own), (1.0 - trucking.near_share) / max(len(own) - 1, 1))
        part[np.argmin(layout.nodes.distance[node[own], r])] = (
            trucking.near_share if len(own) > 1 else 1.0
        )
        share[own] = layout.nodes.region_share[r] * part
    volume: Floats = share / share.mean() * trucking.truckloads_per_day * trucking.truck_ft3
    rest = [volume]
    if hubs is not None:
        of_region = layout.nodes.region_share[np.asarray(hubs.region)]
        there = trucking.hub_truckloads_per_day * trucking.truck_ft3
        rest.append(of_region / of_region.mean() * there)
    if trucking.pallet_truckloads_per_day > 0.0:
        rest.append(np.full(moves, trucking.pallet_truckloads_per_day * pallet_ft3))
    joined: Floats = np.concatenate(rest)
    return joined


def _most_slack(trucking: Trucking) -> int:
    return max(*trucking.slack_waves, *trucking.pallet_slack_waves)


def _mix(waves: tuple[int, ...], shares: tuple[float, ...], most: int) -> Floats:
    """Shares by slack 0 to `most`, (most + 1,)."""
    mix: Floats = np.zeros(most + 1)
    np.add.at(mix, np.asarray(waves), np.asarray(shares, dtype=np.float64))
    return mix


def _mixes(trucking: Trucking, direct: int, pallets: int) -> Floats:
    """(F, K+2) shares by slack, and of what has no deadline: nothing."""
    most = _most_slack(trucking)
    parcels = _mix(trucking.slack_waves, trucking.slack_shares, most)
    rows = [parcels] * direct
    rows += [_mix(trucking.pallet_slack_waves, trucking.pallet_slack_shares, most)] * pallets
    mixes: Floats = np.concatenate((np.array(rows), np.zeros((len(rows), 1))), axis=1)
    return mixes


def _shocks(scenario: Scenario, dims: Size, retail: Retail, lanes: int) -> tuple[DemandShock, ...]:
    """What lifts the volume: the scenario's changes of all demand."""
    return tuple(
        DemandShock(
            window=changes.window_of(change, dims, retail),
            lift=change.factor,
            affected=np.ones(lanes),
            common_sd=change.common_sd,
            product_sd=change.product_sd,
            reveal_days=DemandShock.reveal_days,
            is_event=change.is_event,
        )
        for change in scenario.demand_changes
        if tuple(change.products) == (0.0, 1.0)
    )


def _capacities(
    daily: Capacities,
    scenario: Scenario,
    dims: Size,
    retail: Retail,
    fitted: _Fitted,
    periods: int,
) -> Capacities:
    """Limits by wave: a day's docks and picking in equal parts, trucks, drivers, carriers."""
    trucking, h = fitted.trucking, fitted.h
    fleet = np.ceil(fitted.fleet * trucking.fleet_days)
    freight = fitted.network.freight
    assert freight is not None
    hours = None
    if freight.limits_hours:  # a day's hours are given at its first wave
        hours = np.zeros((periods, len(fleet)))
        hours[::h] = freight.most_hours
    limits: Mapping[str, Any] = {
        "fleet": fleet,
        "driver_hours": hours,
        "spot": np.full(len(fleet), trucking.spot_per_wave),
        "carrier": fitted.parcels_per_day.max() * trucking.carrier_share * np.ones(len(fleet)),
    }
    own = [c for c in scenario.limit_changes if c.limit in POOL_LIMITS]
    centres = len(set(fitted.network.outbound.node.tolist()))
    more = []
    for change in own:
        index = np.arange(len(fleet))
        chosen = index >= 0 if change.nodes == "all" else index < centres
        more.append(
            CapacityChange(
                field=change.limit,
                window=changes.window_of(change, dims, retail),
                factor=change.factor,
                affected=chosen.astype(np.float64),
                one_of_affected=change.nodes == "one_centre",
            )
        )

    def by_wave(values: Floats | None) -> Floats | None:
        return None if values is None else np.asarray(values) / h

    return dataclasses.replace(
        daily,
        receiving=by_wave(daily.receiving),
        outbound=by_wave(daily.outbound),
        changes=(*daily.changes, *more),
        announced_every_days=1,
        **limits,
    )


def _economics(scenario: Scenario, trucking: Trucking, fitted: _Fitted) -> Economics:
    """Books of freight: trucks, fees and lost sales; or those of the whole retailer."""
    if trucking.keeps_retail_books:
        return Economics(**{"cost_per_truck": fitted.cost, **scenario.economics})
    plain = Economics()
    books = {
        "cost_per_truck": fitted.cost,
        "expedite_per_parcel": plain.expedite_per_parcel,
        "late_per_parcel": plain.late_per_parcel,
        "late_per_parcel_day": plain.late_per_parcel_day,
        "goodwill_per_lost_unit": trucking.lost_unit_cost,
    }
    return Economics.textbook(**{**books, **scenario.economics})
