"""What the dispatcher sees, and what it remembers of the past."""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stockyard.envs.network.arrays import (
    Array,
    as_like,
    at_least,
    at_most,
    concat,
    gather_sum,
    stack,
    sum_entries,
    take,
    weighted_sum,
)
from stockyard.envs.network.capacities import WEEKS_AHEAD
from stockyard.envs.network.fleet import fleet_plan, hours_at_hand, own_at_hand
from stockyard.envs.network.params import Params
from stockyard.envs.network.world import Stretch, World
from stockyard.envs.tasks.retail_fields import MOST_MONEY, MOST_UNITS, Bounds
from stockyard.envs.tasks.task import View

FORECAST_WAVES = 12
"""Waves ahead for which volume is forecast."""

DUE_BACK_WAVES = 8
"""Waves ahead for which returns of trucks are shown one by one; later ones count in the last."""

MOST_TRUCKS = 4
"""Trucks that may be sent on a lane at once."""

DAYS_OF_WEEK = 7


def truck_masks(trucks_at_hand: Any, choices: Any) -> npt.NDArray[np.bool_]:
    """Which values of the entries of an action in trucks and flags are possible.

    Args:
        trucks_at_hand: (B, L) trucks that can be sent on each lane.
        choices: number of values of each entry, trucks of the L lanes first.

    Returns:
        (B, sum of the numbers) one after another, as `MultiDiscrete` masks are laid out.
    """
    at_hand = np.asarray(trucks_at_hand)
    batch, lanes = at_hand.shape
    possible = np.arange(choices[0]) <= at_hand[:, :, None] + 1e-6
    free = np.ones((batch, int(np.sum(choices[lanes:]))), dtype=bool)
    return np.concatenate((possible.reshape(batch, -1), free), axis=1)


class Memory(NamedTuple):
    """What the dispatcher knows of the trucks that are away: when they should be back."""

    scheduled: Array  # (B, S, G) trucks by the periods until they should be back, k + 1


class TruckBooks:
    """Keeps a `Memory` of one world, step by step; pure."""

    def __init__(self, world: World) -> None:
        """Takes the world."""
        freight = world.network.freight
        assert freight is not None
        self._trips = freight.round_trip
        self._pools = len(freight.pools)

    def remember(
        self, params: Params, memory: Memory | None, stretch: Stretch | None, batch: int
    ) -> Memory:
        """Rolls the schedule forward by one step."""
        slots = int(self._trips.max())
        if memory is None or stretch is None:
            empty = as_like(np.zeros((batch, slots, self._pools)), params.a.volume)
            return Memory(empty)
        plan, scheduled = fleet_plan(params), memory.scheduled
        for flows in stretch.flows:
            assert flows.freight is not None
            own = flows.freight.own
            sent = [
                gather_sum(own * as_like((self._trips == k + 1) * 1.0, own), plan.by_pool)
                for k in range(slots)
            ]
            scheduled = scheduled + stack(sent, axis=1)
            scheduled = concat([scheduled[:, 1:], scheduled[:, :1] * 0.0])
        return Memory(scheduled)


class TruckFields:
    """Shows one world to its dispatcher; pure and differentiable."""

    def __init__(self, world: World) -> None:
        """Takes the world."""
        self.world = world
        network = world.network
        assert network.freight is not None and world.source.background is not None
        self.freight, self.background = network.freight, world.source.background
        self.h = network.periods_per_day

    @functools.cached_property
    def bounds(self) -> Bounds:
        """Field -> (shape, low, high)."""
        network, freight = self.world.network, self.freight
        lanes, bins = network.num_parcel_lanes, len(network.slack_mix) + 2
        trucks, pools = len(freight.pool), len(freight.pools)
        counts = {
            "parcels": (lanes, bins),
            "volume": (lanes, bins),
            "staged_volume": (len(network.transfers.tail),),
            "to_hub_volume": (freight.num_hub_lanes, bins),
            "own_trucks": (pools,),
            "due_back": (pools, DUE_BACK_WAVES),
            "overdue": (pools,),
            "spot_trucks": (pools,),
            "carrier_parcels": (pools,),
            "trucks_at_hand": (trucks,),
            "fleet_size": (pools, WEEKS_AHEAD),
            "forecast": (lanes, FORECAST_WAVES),
            "truck_volume": (trucks,),
            "round_trip": (trucks,),
            "duty_hours": (trucks,),
            "lane_pool": (trucks,),
        }
        if freight.limits_hours:
            counts["driver_hours"] = (pools,)
        found: Bounds = {name: (shape, 0.0, MOST_UNITS) for name, shape in counts.items()}
        money = {"truck_cost": (trucks,), "spot_cost": (trucks,)}
        found |= {name: (shape, 0.0, MOST_MONEY) for name, shape in money.items()}
        if freight.hubs is not None:
            outs = (len(network.outbound.node),)
            ways = ("via_line", "via_lane", "via_slack")
            found |= {name: (outs, -1.0, MOST_UNITS) for name in ways}
        else:
            del found["to_hub_volume"]
        found["wave"] = ((self.h,), 0.0, 1.0)
        found["weekday"] = ((DAYS_OF_WEEK,), 0.0, 1.0)
        return found

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape before it is flattened."""
        return {name: shape for name, (shape, _, _) in self.bounds.items()}

    def scale(self) -> dict[str, Any]:
        """Static typical size of every field; never from a tape."""
        freight, network = self.freight, self.world.network
        size = np.where(np.isfinite(network.truck_volume), network.truck_volume, 1.0)
        parcel = self.background.parcel_volume
        outs = len(network.transfers.tail)
        lanes = [*range(outs, outs + network.num_parcel_lanes)]
        if freight.has_pallets:
            lanes = [*lanes[: len(lanes) - outs], *range(outs)]
        of_lane = size[lanes]
        fleet = np.atleast_2d(np.asarray(self.world.source.capacities.fleet)).mean(axis=0)
        cost = np.broadcast_to(self.world.economics.cost_per_truck, size.shape)
        scale: dict[str, Any] = {
            "parcels": (of_lane / parcel)[:, None],
            "volume": of_lane[:, None],
            "forecast": of_lane[:, None],
            "staged_volume": size[:outs],
            "own_trucks": np.maximum(fleet, 1.0),
            "fleet_size": np.maximum(fleet, 1.0)[:, None],
            "due_back": np.maximum(fleet, 1.0)[:, None],
            "overdue": np.maximum(fleet, 1.0),
            "carrier_parcels": float((of_lane / parcel).mean()),
            "trucks_at_hand": float(MOST_TRUCKS),
            "truck_volume": float(size.mean()),
            "round_trip": float(freight.round_trip.mean()),
            "duty_hours": max(float(freight.duty_hours.mean()), 1e-3),
            "driver_hours": np.minimum(np.maximum(freight.most_hours, 1e-3), 1e6),
            "truck_cost": max(float(cost.mean()), 1e-3),
            "spot_cost": max(float(cost.mean()), 1e-3),
            "lane_pool": float(max(len(freight.pools) - 1, 1)),
        }
        if freight.hubs is not None:
            outs = len(network.outbound.node)
            hub_lanes = slice(outs, outs + freight.num_hub_lanes)
            scale["to_hub_volume"] = of_lane[hub_lanes][:, None]
        return {name: scale.get(name, 1.0) for name in self.bounds}

    def observe(self, params: Params, view: View) -> dict[str, Array]:
        """Builds every field."""
        state, known = view.state, view.tape.known(view.period)
        fleet = state.freight
        assert fleet is not None and state.parcels is not None and view.tape.freight is not None
        like = state.parcels[:, 0, :1] * 0.0
        own = own_at_hand(fleet, known)
        pools = own * 0.0
        spot = pools if known.spot_limit is None else pools + known.spot_limit
        carriers = pools + (1e9 if known.carrier_limit is None else known.carrier_limit)
        scheduled = view.memory.scheduled
        late = sum_entries(fleet.away) - sum_entries(scheduled)
        fields = {
            "parcels": state.parcels,
            "volume": state.parcel_volume,
            "staged_volume": self._staged(params, view, like),
            "own_trucks": own,
            "due_back": self._due_back(scheduled),
            "overdue": at_least(late, 0.0),  # for rounding
            "spot_trucks": spot,
            "carrier_parcels": carriers,
            "trucks_at_hand": at_most(
                take(own + spot, fleet_plan(params).pool_of), float(MOST_TRUCKS)
            ),
            "fleet_size": self._announced(view, pools),
            "forecast": view.tape.freight.forecast(view.period, FORECAST_WAVES) + like[:, :, None],
            **self._constants(params, view, like),
        }
        if fleet.hours is not None:
            fields["driver_hours"] = hours_at_hand(params, fleet, known)
        if self.freight.hubs is not None:
            fields["to_hub_volume"] = self._to_hub(state, like)
        return fields

    def _staged(self, params: Params, view: View, like: Array) -> Array:
        """What waits of the network's own products, (B, E_tr) ft3."""
        if view.state.staged is None:
            return like + as_like(np.zeros(self.shapes["staged_volume"]), like)
        return weighted_sum(view.state.staged, params.a.volume)

    def _to_hub(self, state: Any, like: Array) -> Array:
        """What is on linehauls by the bins that it joins, (B, E_hub, K+3) ft3."""
        coming = state.freight.to_hub_volume
        if not coming:
            return like[:, :, None] + as_like(np.zeros(self.shapes["to_hub_volume"]), like)
        return sum(coming[1:], start=coming[0])

    def _due_back(self, scheduled: Array) -> Array:
        """Trucks by the waves until they should be back, (B, G, 8)."""
        slots = scheduled.shape[1]
        none = scheduled[:, 0] * 0.0
        shown = [scheduled[:, k] if k < slots else none for k in range(DUE_BACK_WAVES)]
        for k in range(DUE_BACK_WAVES, slots):
            shown[-1] = shown[-1] + scheduled[:, k]
        return stack(shown, axis=2)

    def _announced(self, view: View, pools: Array) -> Array:
        """Trucks in service now and as announced for the next four days, (B, G, 5)."""
        ahead = [
            view.tape.announced_limit("fleet_size", view.period, k, self.h)
            for k in range(WEEKS_AHEAD)
        ]
        return stack([pools + values for values in ahead], axis=2)

    def _constants(self, params: Params, view: View, like: Array) -> dict[str, Array]:
        """What no truck changes, (B, ...)."""
        freight, day = self.freight, view.period // self.h
        wave, weekday = np.zeros(self.h), np.zeros(DAYS_OF_WEEK)
        wave[view.period % self.h] = 1.0
        weekday[day % DAYS_OF_WEEK] = 1.0
        fields: dict[str, Any] = {
            "truck_volume": params.a.truck_volume,
            "truck_cost": params.a.truck_cost,
            "spot_cost": as_like(freight.spot_cost, like),
            "round_trip": as_like(freight.round_trip, like),
            "duty_hours": as_like(freight.duty_hours, like),
            "lane_pool": as_like(freight.pool, like),
            "wave": as_like(wave, like),
            "weekday": as_like(weekday, like),
        }
        if freight.hubs is not None:
            for name in ("via_line", "via_lane", "via_slack"):
                fields[name] = as_like(getattr(freight.hubs, name), like)
        return {name: like + values for name, values in fields.items()}
