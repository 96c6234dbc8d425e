"""One product at one node: newsvendor, setup costs, lost sales."""

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


@dataclasses.dataclass(frozen=True)
class SingleNode:
    """One product, one node, one supplier: a scenario object for `scenario=`."""

    demand: Distribution
    lead_time: int
    holding_cost: float
    penalty_cost: float
    fixed_order_cost: float = 0.0
    unit_cost: float = 0.0
    unmet: str = "lost"

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        keep(self, ("lead_time",), check_whole)
        costs = ("holding_cost", "penalty_cost", "fixed_order_cost", "unit_cost")
        keep(self, costs, check_amount)

    @property
    def largest_order(self) -> float:
        """A bound of one order: from nothing to eight deviations above the order-up-to mean."""
        fixed = 0.0
        if self.holding_cost:
            fixed = math.sqrt(2.0 * self.fixed_order_cost * self.demand.mean / self.holding_cost)
        return largest_order(self.demand, self.lead_time + 1.0, fixed)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        products = Products(("product",), unit_cost=self.unit_cost)
        network = Network(
            nodes=("store",),
            regions=("customers",),
            products=products,
            inbound=InboundLanes(head=[0], lead_time=self.lead_time, unit_cost=self.unit_cost),
            outbound=OutboundLanes(node=[0], region=[0]),
        )
        economics = Economics.textbook(
            unmet=self.unmet,
            fixed_order_cost=self.fixed_order_cost,
            holding_per_unit=self.holding_cost,
            shortage_per_unit=self.penalty_cost,
        )
        cover = self.lead_time + 1.0
        return world(
            network,
            economics,
            IidDemand((self.demand,)),
            rules={"replenish": BaseStock(cover * self.demand.mean)},
            max_order=[self.largest_order],
            # holding cost of one standard deviation of demand over lead time and review
            reward_scale=self.holding_cost * max(self.demand.sd * math.sqrt(cover), 1.0),
        )


def newsvendor(
    demand: Demand,
    holding_cost: float,
    penalty_cost: float,
    lead_time: int = 0,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """The newsvendor, repeated with backorders; with a lead time, the base-stock problem.

    Timing of a period:

    1. The order placed `lead_time` periods ago is on the shelf (with lead time 0 it arrives after
       step 2 of the same period).
    2. Stock, backlog and open orders are seen; an order is placed, free of charge.
    3. Demand is served; what is unmet is owed.
    4. `holding_cost` per unit on hand, `penalty_cost` per unit owed.

    With lead time 0, ordering up to S each period costs what the one-period newsvendor does.

    Args:
        demand: a distribution, or its name with `demand_*` parameters.
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit owed at the end of a period.
        lead_time: periods until an order can be sold.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`.

    References:
        Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed. 2019, section 4.3.
    """
    law = distribution(demand, demand_parameters)
    scenario = SingleNode(law, lead_time, holding_cost, penalty_cost, unmet="backorder")
    return replenishment_env(scenario, horizon)


def setup_cost(
    demand: Demand,
    holding_cost: float,
    penalty_cost: float,
    fixed_order_cost: float,
    lead_time: int = 0,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Backorders with a fixed cost per order, where (s, S) policies are optimal.

    Timing of a period: as `newsvendor`; `fixed_order_cost` is paid in step 2 when the order is
    positive.

    Args:
        demand: a distribution, or its name with `demand_*` parameters.
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit owed at the end of a period.
        fixed_order_cost: USD per order.
        lead_time: periods until an order can be sold.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`.

    References:
        Zheng & Federgruen, Operations Research 39, 1991; Snyder & Shen 2019, section 4.4.
    """
    law = distribution(demand, demand_parameters)
    scenario = SingleNode(
        law, lead_time, holding_cost, penalty_cost, fixed_order_cost, unmet="backorder"
    )
    return replenishment_env(scenario, horizon)


def lost_sales(
    demand: Demand,
    lead_time: int,
    holding_cost: float,
    penalty_cost: float,
    fixed_order_cost: float = 0.0,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Lost sales with a lead time (Karlin & Scarf 1958; Zipkin 2008).

    Timing of a period:

    1. Stock x0 (today's arrival included) and open orders are seen.
    2. An order is placed, free of charge but for `fixed_order_cost`; it is in x0 `lead_time`
       periods later.
    3. Demand d is served; what is unmet is lost.
    4. `holding_cost * max(x0 - d, 0) + penalty_cost * max(d - x0, 0)`.

    Args:
        demand: a distribution, or its name with `demand_*` parameters.
        lead_time: periods until an order can be sold.
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit lost.
        fixed_order_cost: USD per order (Bijvank, Bhulai & Huh 2015).
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`.

    References:
        Zipkin, Old and new methods for lost-sales inventory systems, Operations Research 56, 2008.
    """
    law = distribution(demand, demand_parameters)
    scenario = SingleNode(law, lead_time, holding_cost, penalty_cost, fixed_order_cost)
    return replenishment_env(scenario, horizon)
