"""Several locations that help each other: spillover of lost sales, transshipment of backorders."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import BaseStock, FixedLimit, Rule
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
    network_env,
    world,
)


@dataclasses.dataclass(frozen=True)
class Locations:
    """One product at n locations, each nearest to a region of its own."""

    demand: tuple[Distribution, ...]  # per region
    holding_cost: float
    penalty_cost: float
    local_cost: float  # USD per unit served by the own location
    cross_cost: float  # USD per unit served by another
    lead_time: int
    stock_limit: float | None = None  # units on hand and on order at each location
    spills: bool = True  # whether locations serve each other's regions
    unmet: str = "lost"

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        keep(self, ("lead_time",), check_whole)
        keep(self, ("holding_cost", "penalty_cost", "local_cost", "cross_cost"), check_amount)
        if self.stock_limit is not None:
            keep(self, ("stock_limit",), check_amount)
        if self.cross_cost < self.local_cost:
            raise ValueError(
                f"cross_cost: must be at least local_cost {self.local_cost}, got {self.cross_cost}"
            )

    @property
    def num_locations(self) -> int:
        """Number of locations, and of regions."""
        return len(self.demand)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        n = self.num_locations
        own = np.arange(n)
        lanes = [(k, k, self.local_cost) for k in range(n)]
        if self.spills:
            lanes += [(k, r, self.cross_cost) for r in range(n) for k in range(n) if k != r]
        node, region, tariff = zip(*lanes, strict=True)
        network = Network(
            nodes=tuple(f"location-{k + 1}" for k in own),
            regions=tuple(f"region-{k + 1}" for k in own),
            products=Products(("product",)),
            inbound=InboundLanes(head=own, lead_time=self.lead_time),
            outbound=OutboundLanes(node=node, region=region, tariff=tariff),
        )
        economics = Economics.textbook(
            unmet=self.unmet,
            holding_per_unit=self.holding_cost,
            shortage_per_unit=self.penalty_cost,
        )
        cover = self.lead_time + 1.0
        rules: dict[str, Rule] = {
            "replenish": BaseStock(cover * sum(law.mean for law in self.demand))
        }
        if self.stock_limit is not None:
            rules["restock"] = FixedLimit(self.stock_limit)
        sd = math.sqrt(sum(law.sd**2 for law in self.demand))
        return world(
            network,
            economics,
            IidDemand(self.demand),
            rules=rules,
            max_order=[max(largest_order(law, cover) for law in self.demand)],
            reward_scale=max(self.holding_cost, 1e-3) * max(sd * math.sqrt(cover), 1.0),
        )


def spillover(
    demand: Demand | Sequence[Demand],
    holding_cost: float,
    penalty_cost: float,
    cross_cost: float,
    local_cost: float = 0.0,
    lead_time: int = 1,
    stock_limit: float | None = None,
    spills: bool = True,
    num_locations: int | None = None,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Locations that serve each other's customers when these find an empty shelf; lost sales.

    Timing of a period:

    1. What arrives today is on the shelf; all stocks and open orders are seen.
    2. Each location orders, free of charge; with `stock_limit`, stock and open orders together
       stay within it. An order can be sold `lead_time` periods later (0: at once).
    3. Every region is served by its own location first, then by the others in their order; where
       regions compete for a location's stock, each gets its share in proportion.
    4. `local_cost` or `cross_cost` per unit served, `holding_cost` per unit left, `penalty_cost`
       per unit lost.

    With `horizon=1` and `lead_time=0` an episode is the one-period placement newsvendor: profit =
    (price - cost) E[D] less this cost, with holding cost = cost - salvage and penalty cost = price
    - cost.

    Args:
        demand: a distribution for all regions, or a sequence of them, or a name with `demand_*`
            parameters (sequences where regions differ).
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit lost.
        cross_cost: USD per unit served by another location.
        local_cost: USD per unit served by the own location.
        lead_time: periods until an order can be sold.
        stock_limit: units on hand and on order at each location; None: no limit.
        spills: False keeps every region to its own location.
        num_locations: how many; None: as many as the sequences have entries.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`, of `stockyard/Network-v0` with the slot replenish:
        one order for each location.

    References:
        Acimovic & Graves, Manufacturing & Service Operations Management 17, 2015; DeValve, Wei, Wu
        & Yuan, Understanding the value of fulfillment flexibility, 2023.
    """
    scenario = Locations(
        distributions(demand, demand_parameters, num_locations, "num_locations"),
        holding_cost,
        penalty_cost,
        local_cost,
        cross_cost,
        lead_time,
        stock_limit,
        spills,
    )
    return network_env(scenario, horizon, "replenish")


def transshipment(
    demand: Demand | Sequence[Demand],
    holding_cost: float,
    penalty_cost: float,
    transshipment_cost: float,
    lead_time: int = 0,
    num_locations: int | None = None,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """Locations that transship after demand is seen; unmet demand is owed.

    Complete pooling: all stock that helps is sent. With lead time 0 this is optimal while the
    transshipment cost is at most `holding_cost + penalty_cost`; with a lead time, where it can pay
    to keep stock back, it is a rule of the problem.

    Timing of a period:

    1. All stocks and the units owed are seen.
    2. Each location orders, free of charge; an order can be sold `lead_time` periods later (0: at
       once).
    3. Every region is served by its own location, then from what the others have left, at
       `transshipment_cost` per unit; what is unmet is owed.
    4. `holding_cost` per unit left, `penalty_cost` per unit owed.

    Args:
        demand: a distribution for all regions, or a sequence of them, or a name with `demand_*`
            parameters (sequences where regions differ).
        holding_cost: USD per unit left at the end of a period.
        penalty_cost: USD per unit owed at the end of a period.
        transshipment_cost: USD per unit, at most `holding_cost + penalty_cost`.
        lead_time: periods until an order can be sold.
        num_locations: how many; None: as many as the sequences have entries.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`, of `stockyard/Network-v0` with the slot replenish:
        one order for each location.

    Raises:
        ValueError: if transshipment costs more than it saves.

    References:
        Tagaras, IIE Transactions 21, 1989; Robinson, Operations Research 38, 1990.
    """
    saved = check_amount(holding_cost, "holding_cost") + check_amount(penalty_cost, "penalty_cost")
    if check_amount(transshipment_cost, "transshipment_cost") > saved:
        raise ValueError(
            "transshipment_cost: must be at most holding_cost + penalty_cost "
            f"{saved:g}, for all that helps is sent; got "
            f"{transshipment_cost!r}"
        )
    scenario = Locations(
        distributions(demand, demand_parameters, num_locations, "num_locations"),
        holding_cost,
        penalty_cost,
        0.0,
        transshipment_cost,
        lead_time,
        unmet="backorder",
    )
    return network_env(scenario, horizon, "replenish")
