"""Several products that share what may be stored: a common capacity, a restock limit."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import BaseStock, FixedLimit
from stockyard.envs.network.topology import InboundLanes, Network, OutboundLanes, Products
from stockyard.envs.network.world import World
from stockyard.envs.textbook.base import (
    DEFAULT_HORIZON,
    Demand,
    check_amount,
    check_whole,
    distributions,
    keep,
    largest_order,
    per_entity,
    replenishment_env,
    world,
)


@dataclasses.dataclass(frozen=True)
class SharedStock:
    """Products of one owner at one node, under a limit on hand plus inbound; lost sales."""

    demand: tuple[Distribution, ...]  # per product
    holding_costs: tuple[float, ...]
    penalty_costs: tuple[float, ...]
    lead_time: int
    limit: float  # ft3
    volumes: tuple[float, ...]  # ft3 per unit

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        keep(self, ("lead_time",), check_whole)
        keep(self, ("limit",), check_amount)
        for field in ("holding_costs", "penalty_costs", "volumes"):
            values = per_entity(getattr(self, field), self.num_products, field)
            object.__setattr__(self, field, values)

    @property
    def num_products(self) -> int:
        """Number of products."""
        return len(self.demand)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        names = tuple(f"product-{k + 1}" for k in range(self.num_products))
        network = Network(
            nodes=("store",),
            regions=("customers",),
            products=Products(names, volume=self.volumes),
            inbound=InboundLanes(head=[0], lead_time=self.lead_time),
            outbound=OutboundLanes(node=[0], region=[0]),
        )
        economics = Economics.textbook(
            holding_per_unit=np.array([self.holding_costs]),
            shortage_per_unit=np.array([self.penalty_costs]),
        )
        cover = self.lead_time + 1.0
        sd = math.sqrt(sum(law.sd**2 for law in self.demand))
        return world(
            network,
            economics,
            IidDemand((self.demand,)),
            rules={
                "replenish": BaseStock(cover * np.array([law.mean for law in self.demand])),
                "restock": FixedLimit(self.limit),
            },
            max_order=[largest_order(law, cover) for law in self.demand],
            reward_scale=max(*self.holding_costs, 1e-3) * max(sd * math.sqrt(cover), 1.0),
        )


def shared_capacity(
    demand: Demand | Sequence[Demand],
    capacity: float,
    holding_costs: float | Sequence[float],
    penalty_costs: float | Sequence[float],
    volumes: float | Sequence[float] = 1.0,
    num_products: int | None = None,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Products share a capacity for stock; lead time 0, lost sales.

    Timing of a period:

    1. All stocks are seen.
    2. Each product is ordered, free of charge, and arrives at once; all stock together stays
       within `capacity`. What does not fit is cut from all orders in proportion.
    3. Demand is served; what is unmet is lost.
    4. `holding_costs` per unit left, `penalty_costs` per unit lost.

    With `horizon=1` an episode is the newsvendor with a shared capacity (Hadley & Whitin 1963):
    profit = (price - cost) E[D] less this cost, with holding cost = cost - salvage and penalty cost
    = price - cost.

    Args:
        demand: a distribution for all products, or a sequence of them, or a name with `demand_*`
            parameters (sequences where products differ).
        capacity: ft3 of stock after ordering, all products together.
        holding_costs: USD per unit left at the end of a period; a number, or one for each product.
        penalty_costs: USD per unit lost; a number, or one for each product.
        volumes: ft3 per unit; a number, or one for each product.
        num_products: how many; None: as many as the sequences have entries.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`.

    References:
        Hadley & Whitin, Analysis of Inventory Systems, 1963; Zipkin, Foundations of Inventory
        Management, 2000.
    """
    check_amount(capacity, "capacity")
    return restock_limit(
        demand,
        capacity,
        holding_costs,
        penalty_costs,
        0,
        volumes,
        num_products,
        horizon,
        **demand_parameters,
    )


def restock_limit(
    demand: Demand | Sequence[Demand],
    limit: float,
    holding_costs: float | Sequence[float],
    penalty_costs: float | Sequence[float],
    lead_time: int = 1,
    volumes: float | Sequence[float] = 1.0,
    num_products: int | None = None,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """A seller's products under a restock limit on what is on hand and inbound; lost sales.

    Timing of a period:

    1. What arrives today is on the shelf; all stocks and open orders are seen.
    2. Each product is ordered, free of charge; stock before demand, open orders and the new ones
       together stay within `limit`. What does not fit is cut from all orders in proportion.
    3. Demand is served; what is unmet is lost.
    4. `holding_costs` per unit left, `penalty_costs` per unit lost.

    Args:
        demand: a distribution for all products, or a sequence of them, or a name with `demand_*`
            parameters (sequences where products differ).
        limit: ft3 on hand and inbound, all products together.
        holding_costs: USD per unit left at the end of a period; a number, or one for each product.
        penalty_costs: USD per unit lost; a number, or one for each product.
        lead_time: periods until an order can be sold.
        volumes: ft3 per unit; a number, or one for each product.
        num_products: how many; None: as many as the sequences have entries.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`.
    """
    costs = holding_costs, penalty_costs, volumes
    laws = distributions(demand, demand_parameters, num_products, "num_products", *costs)
    n = len(laws)
    scenario = SharedStock(
        laws,
        per_entity(holding_costs, n, "holding_costs"),
        per_entity(penalty_costs, n, "penalty_costs"),
        lead_time,
        limit,
        per_entity(volumes, n, "volumes"),
    )
    return replenishment_env(scenario, horizon)
