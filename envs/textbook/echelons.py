"""Several stages: a serial system, and one warehouse with many stores."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stockyard.envs.network.distributions import Distribution
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import BaseStock, NodeBaseStock
from stockyard.envs.network.topology import (
    InboundLanes,
    Network,
    OutboundLanes,
    Products,
    TransferLanes,
)
from stockyard.envs.network.world import World
from stockyard.envs.textbook.base import (
    DEFAULT_HORIZON,
    Demand,
    check_amount,
    check_whole,
    distribution,
    distributions,
    entries,
    keep,
    largest_order,
    network_env,
    per_entity,
    world,
)


@dataclasses.dataclass(frozen=True)
class Serial:
    """A chain of stages, downstream first: node 0 serves the customers; unmet demand is owed."""

    demand: Distribution
    lead_times: tuple[int, ...]  # into each stage, periods
    holding_costs: tuple[float, ...]  # local, USD per unit and period
    penalty_cost: float
    charge_in_transit: bool = True  # stock between stages at the sender's holding cost

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        keep(self, ("lead_times",), entries)
        if not self.lead_times:
            raise ValueError("lead_times: must name at least one stage")
        leads = tuple(check_whole(lead, "lead_times") for lead in self.lead_times)
        object.__setattr__(self, "lead_times", leads)
        costs = per_entity(self.holding_costs, self.num_stages, "holding_costs")
        object.__setattr__(self, "holding_costs", costs)
        keep(self, ("penalty_cost",), check_amount)

    @property
    def num_stages(self) -> int:
        """Number of stages."""
        return len(self.lead_times)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        n = self.num_stages
        network = Network(
            nodes=tuple(f"stage-{k + 1}" for k in range(n)),
            regions=("customers",),
            products=Products(("product",)),
            inbound=InboundLanes(head=[n - 1], lead_time=self.lead_times[-1]),
            transfers=TransferLanes(
                tail=np.arange(1, n), head=np.arange(n - 1), transit=self.lead_times[:-1]
            ),
            outbound=OutboundLanes(node=[0], region=[0]),
        )
        economics = Economics.textbook(
            unmet="backorder",
            holding_per_unit=self.holding_costs,
            transit_holding_per_unit=self.holding_costs[1:] if self.charge_in_transit else 0.0,
            shortage_per_unit=self.penalty_cost,
        )
        cover = sum(self.lead_times) + 1.0
        mean = self.demand.mean
        levels = np.array([mean * (self.lead_times[k] + 1.0) for k in range(n)])
        return world(
            network,
            economics,
            IidDemand((self.demand,)),
            rules={"replenish": BaseStock(levels.sum()), "place": NodeBaseStock(levels)},
            max_order=[largest_order(self.demand, cover)],
            reward_scale=max(self.holding_costs) * max(self.demand.sd * math.sqrt(cover), 1.0),
        )


def serial(
    demand: Demand,
    lead_times: Sequence[int],
    holding_costs: Sequence[float],
    penalty_cost: float,
    charge_in_transit: bool = True,
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """A serial system with backorders (Clark & Scarf 1960), in periodic review.

    Timing of a period:

    1. What arrives today is on each stage's shelf; all stocks and pipelines are seen.
    2. The most upstream stage orders from a supplier that never runs out; each stage is sent units
       from the stock that its upstream neighbour had at step 1. A lead time of 0 arrives now; at a
       stage above the first it rests one period, for it is sent on at the next step 1 at the
       earliest.
    3. Demand is served from stage 1; what is unmet is owed.
    4. `holding_costs` per unit on each shelf and, if charged, per unit between stages at the rate
       of the stage that sent it; `penalty_cost` per unit owed.

    Textbooks in continuous review give stage 1 the lead time that is one period shorter here.

    Args:
        demand: a distribution, or its name with `demand_*` parameters.
        lead_times: periods into each stage, downstream first; the last is the supplier's.
        holding_costs: USD per unit and period at each stage (local, not echelon), downstream first.
        penalty_cost: USD per unit owed at the end of a period.
        charge_in_transit: whether units between stages cost the sender's rate.
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`, of `stockyard/Network-v0` with the slots replenish
        (the order of the last stage) and place (transfer lane k goes to stage k + 1, counted from
        1, of the chain).

    References:
        Clark & Scarf, Management Science 6, 1960; Snyder & Shen, Fundamentals of Supply Chain
        Theory, 2nd ed. 2019, section 6.2.
    """
    scenario = Serial(
        distribution(demand, demand_parameters),
        entries(lead_times, "lead_times"),
        entries(holding_costs, "holding_costs"),
        penalty_cost,
        charge_in_transit,
    )
    slots = ("replenish", "place") if scenario.num_stages > 1 else ("replenish",)
    return network_env(scenario, horizon, *slots)


@dataclasses.dataclass(frozen=True)
class OneWarehouse:
    """One warehouse (node 0) and stores (nodes 1 and on) with their own customers."""

    demand: tuple[Distribution, ...]  # per store
    warehouse_lead_time: int
    store_lead_times: tuple[int, ...]
    warehouse_holding_cost: float
    store_holding_costs: tuple[float, ...]
    penalty_costs: tuple[float, ...]
    unmet: str = "lost"

    def __post_init__(self) -> None:
        """Checks the numbers, naming the parameter that is out of range."""
        keep(self, ("warehouse_lead_time",), check_whole)
        keep(self, ("warehouse_holding_cost",), check_amount)
        for field in ("store_lead_times", "store_holding_costs", "penalty_costs"):
            values = per_entity(getattr(self, field), self.num_stores, field)
            object.__setattr__(self, field, values)
        leads = tuple(check_whole(lead, "store_lead_times") for lead in self.store_lead_times)
        object.__setattr__(self, "store_lead_times", leads)

    @property
    def num_stores(self) -> int:
        """Number of stores."""
        return len(self.demand)

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        n = self.num_stores
        stores = np.arange(1, n + 1)
        leads = np.array(self.store_lead_times, dtype=np.int64)
        network = Network(
            nodes=("warehouse", *(f"store-{k}" for k in stores)),
            regions=tuple(f"customers-{k}" for k in stores),
            products=Products(("product",)),
            inbound=InboundLanes(head=[0], lead_time=self.warehouse_lead_time),
            transfers=TransferLanes(tail=np.zeros(n, np.int64), head=stores, transit=leads),
            outbound=OutboundLanes(node=stores, region=stores - 1),
        )
        economics = Economics.textbook(
            unmet=self.unmet,
            holding_per_unit=(self.warehouse_holding_cost, *self.store_holding_costs),
            shortage_per_unit=self.penalty_costs,
        )
        mean = np.array([law.mean for law in self.demand])
        sd = math.sqrt(sum(law.sd**2 for law in self.demand))
        cover = self.warehouse_lead_time + float(leads.max()) + 1.0
        levels = np.concatenate(([0.0], mean * (leads + 1.0)))
        bound = math.ceil(cover * mean.sum() + 8.0 * sd * math.sqrt(cover))
        return world(
            network,
            economics,
            IidDemand(self.demand),
            rules={
                "replenish": BaseStock(cover * mean.sum()),
                "place": NodeBaseStock(levels),
            },
            max_order=[max(float(bound), 1.0)],
            reward_scale=max(self.store_holding_costs) * max(sd * math.sqrt(cover), 1.0),
        )


def one_warehouse(
    demand: Demand | Sequence[Demand],
    warehouse_lead_time: int,
    store_lead_times: int | Sequence[int],
    warehouse_holding_cost: float,
    store_holding_costs: float | Sequence[float],
    penalty_costs: float | Sequence[float],
    num_stores: int | None = None,
    unmet: str = "lost",
    horizon: int = DEFAULT_HORIZON,
    **demand_parameters: Any,
) -> dict[str, Any]:
    """One warehouse supplies many stores (Federgruen & Zipkin 1984).

    Timing of a period:

    1. What arrives today is on the shelf; all stocks and pipelines are seen.
    2. The warehouse orders from a supplier that never runs out.
    3. Stores are sent units from the stock that the warehouse had at step 1; where it is short,
       each store gets its share of what was asked, in proportion.
    4. Demand is served at each store; what is unmet is lost (or owed).
    5. Holding costs on what is left at the warehouse and the stores, `penalty_costs` per unit lost
       (or per unit owed). Units under way cost nothing.

    Args:
        demand: a distribution for all stores, or a sequence of them, or a name with `demand_*`
            parameters (sequences where stores differ).
        warehouse_lead_time: periods from the supplier to the warehouse.
        store_lead_times: periods from the warehouse to each store; a number, or one for each.
        warehouse_holding_cost: USD per unit and period.
        store_holding_costs: USD per unit and period; a number, or one for each.
        penalty_costs: USD per unit lost or owed; a number, or one for each.
        num_stores: how many stores; None: as many as the sequences have entries.
        unmet: "lost" or "backorder".
        horizon: periods of an episode.
        **demand_parameters: `demand_mean` and so on, when `demand` is a name.

    Returns:
        Keyword arguments of `gymnasium.make`, of `stockyard/Network-v0` with the slots replenish
        (one order) and place (one transfer for each store).

    References:
        Federgruen & Zipkin, Management Science 30, 1984 (approximations of dynamic, multilocation
        production and inventory problems); Alvo, Russo, Kanoria & Wang, arXiv 2306.11246, 2023.
    """
    each = store_lead_times, store_holding_costs, penalty_costs
    laws = distributions(demand, demand_parameters, num_stores, "num_stores", *each)
    scenario = OneWarehouse(
        laws,
        warehouse_lead_time,
        store_lead_times,  # type: ignore[arg-type]  # a tuple when checked
        warehouse_holding_cost,
        store_holding_costs,  # type: ignore[arg-type]
        penalty_costs,  # type: ignore[arg-type]
        unmet,
    )
    return network_env(scenario, horizon, "replenish", "place")
