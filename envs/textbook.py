"""Textbook problems as configurations of the shared network.

Each function returns the keyword arguments, `id` included, of `gymnasium.make` and
`gymnasium.make_vec`. The reward of a period is exactly minus the textbook cost of that period, so
an average reward compares directly with published optimal costs.

>>> import gymnasium as gym
>>> from stockyard.envs import textbook
>>> problem = textbook.lost_sales(
...     demand=textbook.Poisson(5), lead_time=2, holding_cost=1, penalty_cost=9
... )
>>> env = gym.make(**problem)
>>> observation, info = env.reset(seed=0)
>>> observation["inventory_position"].shape
(1,)
"""

import dataclasses
import math
from typing import Any

import numpy as np

from stockyard.envs.network.distributions import (
    Deterministic,
    Distribution,
    Gamma,
    Geometric,
    NegativeBinomial,
    Normal,
    Pmf,
    Poisson,
    Uniform,
    named,
)
from stockyard.envs.network.economics import Economics
from stockyard.envs.network.processes import IidDemand
from stockyard.envs.network.standing_rules import BaseStock
from stockyard.envs.network.tapes import TapeSource
from stockyard.envs.network.topology import InboundLanes, Network, OutboundLanes, Products
from stockyard.envs.network.world import Opening, World

__all__ = [
    "Deterministic",
    "Gamma",
    "Geometric",
    "NegativeBinomial",
    "Normal",
    "Pmf",
    "Poisson",
    "SingleNode",
    "Uniform",
    "lost_sales",
    "newsvendor",
    "setup_cost",
]

DEFAULT_HORIZON = 1_000
"""Periods of an episode unless `horizon` says otherwise."""


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
        if int(self.lead_time) != self.lead_time or self.lead_time < 0:
            raise ValueError(f"lead_time: must be a whole number >= 0, got {self.lead_time!r}")
        for field in ("holding_cost", "penalty_cost", "fixed_order_cost", "unit_cost"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field}: must be finite and >= 0, got {value!r}")

    @property
    def largest_order(self) -> float:
        """A bound of one order: from nothing to eight deviations above the order-up-to mean."""
        cover = self.lead_time + 1.0
        fixed = 0.0
        if self.holding_cost:
            fixed = math.sqrt(2.0 * self.fixed_order_cost * self.demand.mean / self.holding_cost)
        spread = 8.0 * self.demand.sd * math.sqrt(cover)
        return float(max(math.ceil(cover * self.demand.mean + spread + fixed), 1))

    def build(self, size: str, task: str) -> World:
        """Builds the world; it has one size."""
        products = Products(("product",), unit_cost=self.unit_cost)
        network = Network(
            nodes=("store",),
            regions=("customers",),
            products=products,
            inbound=InboundLanes(head=[0], lead_time=int(self.lead_time), unit_cost=self.unit_cost),
            outbound=OutboundLanes(node=[0], region=[0]),
        )
        economics = Economics.textbook(
            unmet=self.unmet,
            fixed_order_cost=self.fixed_order_cost,
            holding_per_unit=self.holding_cost,
            shortage_per_unit=self.penalty_cost,
        )
        level = (self.lead_time + 1) * self.demand.mean
        return World(
            network=network,
            economics=economics,
            source=TapeSource(network, IidDemand((self.demand,))),
            opening=Opening(np.zeros((1, 1))),
            rules={"replenish": BaseStock(level)},
            periods_per_step=1,
            horizon=DEFAULT_HORIZON,
            max_order=np.array([self.largest_order]),
            whole_units=self.demand.is_integer,
            shows_history=False,
            reward_scale=self._reward_scale(),
        )

    def _reward_scale(self) -> float:
        """Holding cost of one standard deviation of demand over lead time and review, USD."""
        spread = max(self.demand.sd * math.sqrt(self.lead_time + 1.0), 1.0)
        return float(max(self.holding_cost, 1e-3) * spread)


def _distribution(demand: Distribution | str, parameters: dict[str, Any]) -> Distribution:
    """Takes a distribution, or a name with `demand_*` parameters as Hydra passes them."""
    given = {}
    for key, value in parameters.items():
        if not key.startswith("demand_"):
            raise TypeError(f"unknown parameter {key!r}; distributions take demand_* parameters")
        given[key.removeprefix("demand_")] = value
    if isinstance(demand, str):
        return named(demand, **given)
    if any(value is not None for value in given.values()):
        raise ValueError("demand: give demand_* parameters only with a distribution's name")
    return demand


def _problem(scenario: SingleNode, horizon: int) -> dict[str, Any]:
    return {
        "id": "stockyard/Replenishment-v0",
        "scenario": scenario,
        "horizon": horizon,
        "action": "quantity",
    }


def newsvendor(
    demand: Distribution | str,
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
    law = _distribution(demand, demand_parameters)
    scenario = SingleNode(law, lead_time, holding_cost, penalty_cost, unmet="backorder")
    return _problem(scenario, horizon)


def setup_cost(
    demand: Distribution | str,
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
    law = _distribution(demand, demand_parameters)
    scenario = SingleNode(
        law, lead_time, holding_cost, penalty_cost, fixed_order_cost, unmet="backorder"
    )
    return _problem(scenario, horizon)


def lost_sales(
    demand: Distribution | str,
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
    law = _distribution(demand, demand_parameters)
    scenario = SingleNode(law, lead_time, holding_cost, penalty_cost, fixed_order_cost)
    return _problem(scenario, horizon)
