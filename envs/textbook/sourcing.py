"""One product from two suppliers: dual sourcing."""

import dataclasses
import math
from typing import Any

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
    replenishment_env,
    world,
)

REGULAR, EXPEDITED = 0, 1
"""The inbound lanes, and the entries of an order."""


@dataclasses.dataclass(frozen=True)
class DualSourcing:
    """One product, one node, a slow cheap and a fast dear supplier; unmet demand is owed."""

    demand: Distribution
    regular_lead_time: int
    expedited_lead_time: int
    regular_cost: float
    expedited_cost: float
    holding_cost: float
    penalty_cost: float

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        keep(self, ("regular_lead_time", "expedited_lead_time"), check_whole)
        if self.expedited_lead_time > self.regular_lead_time:
            raise ValueError(
                f"expedited_lead_time: must be at most regular_lead_time "
                f"{self.regular_lead_time}, got {self.expedited_lead_time}"
            )
        costs = ("regular_cost", "expedited_cost", "holding_cost", "penalty_cost")
        keep(self, costs, check_amount)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        network = Network(
            nodes=("store",),
            regions=("customers",),
            products=Products(("product",), unit_cost=self.regular_cost),
            suppliers=("regular", "expedited"),
            inbound=InboundLanes(
                head=[0, 0],
                supplier=[[REGULAR], [EXPEDITED]],
                lead_time=[[self.regular_lead_time], [self.expedited_lead_time]],
                unit_cost=[[self.regular_cost], [self.expedited_cost]],
            ),
            outbound=OutboundLanes(node=[0], region=[0]),
        )
        economics = Economics.textbook(
            unmet="backorder",
            holding_per_unit=self.holding_cost,
            shortage_per_unit=self.penalty_cost,
        )
        cover = self.regular_lead_time + 1.0
        premium = abs(self.expedited_cost - self.regular_cost) + self.holding_cost
        return world(
            network,
            economics,
            IidDemand((self.demand,)),
            rules={"replenish": BaseStock(cover * self.demand.mean)},
            max_order=[largest_order(self.demand, cover)],
            reward_scale=premium * max(self.demand.sd * math.sqrt(cover), 1.0),
        )


def dual_sourcing(
    demand: Demand,
    regular_lead_time: int,
    expedited_lead_time: int,
    regular_cost: float,
    expedited_cost: float,
    holding_cost: float,
    penalty_cost: float,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Dual sourcing with backorders (Whittemore & Saunders 1977; Gijsbrechts et al. 2022).

    Timing of a period:

    1. Today's arrivals are on the shelf; stock, backlog and open orders are seen.
    2. Two quantities are ordered and paid: regular (entry 0), which can be sold in
       `regular_lead_time` periods, and expedited (entry 1), in `expedited_lead_time`; with lead
       time 0 it serves today's demand.
    3. Demand is served; what is unmet is owed.
    4. `holding_cost` per unit on hand, `penalty_cost` per unit owed.

    Args:
        demand: a distribution, or its name with `demand_*` parameters.
        regular_lead_time: periods.
        expedited_lead_time: periods, at most the regular one.
        regular_cost: USD per unit ordered.
        expedited_cost: USD per unit ordered.
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit owed at the end of a period.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`.

    References:
        Gijsbrechts, Boute, Van Mieghem & Zhang, Can deep reinforcement learning improve inventory
        management?, Manufacturing & Service Operations Management 24, 2022.
    """
    scenario = DualSourcing(
        distribution(demand, demand_parameters),
        regular_lead_time,
        expedited_lead_time,
        regular_cost,
        expedited_cost,
        holding_cost,
        penalty_cost,
    )
    return replenishment_env(scenario, horizon)
