"""One truck lane: batch dispatch without deadlines, dispatch with them."""

import dataclasses
import math
from typing import Any

import numpy as np

from stockyard.envs.network.capacities import Capacities
from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import BaseStock
from stockyard.envs.network.topology import InboundLanes, Network, OutboundLanes, Products
from stockyard.envs.network.world import World
from stockyard.envs.textbook.base import (
    DEFAULT_HORIZON,
    Demand,
    check_amount,
    check_whole,
    distribution,
    keep,
    largest_order,
    network_env,
    world,
)


def _check_capacity(value: Any, field: str) -> float:
    capacity = check_amount(value, field)
    if not capacity:
        raise ValueError(f"{field}: must be > 0, got {value!r}")
    return capacity


@dataclasses.dataclass(frozen=True)
class DispatchLane:
    """Parcels wait at one terminal for trucks to one city."""

    arrivals: Distribution  # parcels per period
    slack: int | None  # periods to the last on-time dispatch of a new parcel; None: no deadline
    truck_capacity: float  # parcels
    truck_cost: float
    holding_cost: float  # per parcel that stays after the decision
    expedite_cost: float  # per due parcel left behind, which a common carrier then takes
    max_trucks: int  # per period

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        if self.slack is not None:
            keep(self, ("slack",), check_whole)
        object.__setattr__(self, "max_trucks", check_whole(self.max_trucks, "max_trucks", 1))
        keep(self, ("truck_capacity",), _check_capacity)
        keep(self, ("truck_cost", "holding_cost", "expedite_cost"), check_amount)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size.

        A parcel is a unit sold, so the terminal is given more stock than anybody can ask for,
        again in every period and free of charge.
        """
        plenty = 1_000.0 * math.ceil(self.arrivals.mean + self.arrivals.sd + 1.0)
        slack = self.slack or 0
        undated = self.slack is None
        network = Network(
            nodes=("terminal",),
            regions=("city",),
            products=Products(("parcel",)),
            inbound=InboundLanes(head=[0], lead_time=0),
            outbound=OutboundLanes(node=[0], region=[0], truck_volume=self.truck_capacity),
            slack_mix=(*[0.0] * slack, 0.0 if undated else 1.0),
            undated_share=1.0 if undated else 0.0,
            parcel_volume_factor=1.0,
            parcel_volume_fixed=0.0,
        )
        economics = Economics.textbook(
            cost_per_truck=self.truck_cost,
            waiting_per_parcel=self.holding_cost,
            expedite_per_parcel=self.expedite_cost,
            expedite_left_behind=True,
        )
        return world(
            network,
            economics,
            IidDemand((self.arrivals,)),
            rules={"replenish": BaseStock(plenty)},
            max_order=[plenty],
            reward_scale=self.truck_cost,
            opening=np.full((1, 1), plenty),
            capacities=Capacities(trucks=np.array([float(self.max_trucks)])),
        )


def batch_dispatch(
    demand: Demand,
    truck_capacity: float,
    truck_cost: float,
    holding_cost: float,
    max_trucks: int = 1,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Parcels without a deadline wait for a truck: go or stay.

    Timing of a period:

    1. The parcels that wait are seen, those that came in since the last decision among them.
    2. Trucks leave, up to `max_trucks`, each with at most `truck_capacity` parcels, at
       `truck_cost`.
    3. `holding_cost` per parcel that stays.
    4. New parcels come in.

    Args:
        demand: parcels that come in per period: a distribution, or its name with `demand_*`
            parameters.
        truck_capacity: parcels a truck takes.
        truck_cost: USD per truck.
        holding_cost: USD per parcel and period.
        max_trucks: trucks per period.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`, of `stockyard/Network-v0` with the slot dispatch.

    References:
        Deb & Serfozo, Advances in Applied Probability 5, 1973 (control limits); Papadaki & Powell,
        European Journal of Operational Research 142, 2002.
    """
    scenario = DispatchLane(
        distribution(demand, demand_parameters),
        None,
        truck_capacity,
        truck_cost,
        holding_cost,
        0.0,
        max_trucks,
    )
    return network_env(scenario, horizon, "dispatch")


def deadline_dispatch(
    demand: Demand,
    slack: int,
    truck_capacity: float,
    truck_cost: float,
    holding_cost: float,
    expedite_cost: float,
    max_trucks: int | None = None,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Parcels with deadlines: trucks now, or a carrier for those left behind.

    Timing of a period:

    1. The parcels that wait are seen by their slack, those that came in since the last decision
       with slack `slack`.
    2. Trucks leave, each with at most `truck_capacity` parcels, earliest due first, at
       `truck_cost`.
    3. Parcels of slack 0 left behind go by common carrier at `expedite_cost` each.
    4. `holding_cost` per parcel that stays; its slack falls by one.
    5. New parcels come in.

    Args:
        demand: parcels that come in per period: a distribution, or its name with `demand_*`
            parameters.
        slack: periods that a new parcel may wait.
        truck_capacity: parcels a truck takes.
        truck_cost: USD per truck.
        holding_cost: USD per parcel and period.
        expedite_cost: USD per parcel.
        max_trucks: trucks per period; None: as many as all that can wait would need.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`, of `stockyard/Network-v0` with the slot dispatch.

    References:
        Higginson & Bookbinder, Journal of Business Logistics 15, 1994 (policies for consolidation
        with due dates).
    """
    arrivals = distribution(demand, demand_parameters)
    if max_trucks is None:
        most = largest_order(arrivals, check_whole(slack, "slack") + 1.0)
        max_trucks = math.ceil(most / _check_capacity(truck_capacity, "truck_capacity"))
    scenario = DispatchLane(
        arrivals, slack, truck_capacity, truck_cost, holding_cost, expedite_cost, max_trucks
    )
    return network_env(scenario, horizon, "dispatch")
