"""Textbook problems as configurations of the shared network.

Each function returns the keyword arguments, `id` included, of `gymnasium.make` and
`gymnasium.make_vec`. The reward of a period is exactly minus the textbook cost of that period, so
an average reward compares directly with published optimal costs. Demand is a distribution of this
module, or its name with `demand_*` parameters (`demand="poisson", demand_mean=5`), as configuration
files give it; where a problem has several demands, a sequence of distributions, or one for all.

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
)
from stockyard.envs.textbook.capacity import SharedStock, restock_limit, shared_capacity
from stockyard.envs.textbook.dispatch import DispatchLane, batch_dispatch, deadline_dispatch
from stockyard.envs.textbook.echelons import OneWarehouse, Serial, one_warehouse, serial
from stockyard.envs.textbook.locations import Locations, spillover, transshipment
from stockyard.envs.textbook.single_node import SingleNode, lost_sales, newsvendor, setup_cost
from stockyard.envs.textbook.sourcing import DualSourcing, dual_sourcing

__all__ = [
    "PROBLEMS",
    "Deterministic",
    "DispatchLane",
    "Distribution",
    "DualSourcing",
    "Gamma",
    "Geometric",
    "Locations",
    "NegativeBinomial",
    "Normal",
    "OneWarehouse",
    "Pmf",
    "Poisson",
    "Serial",
    "SharedStock",
    "SingleNode",
    "Uniform",
    "batch_dispatch",
    "deadline_dispatch",
    "dual_sourcing",
    "lost_sales",
    "newsvendor",
    "one_warehouse",
    "restock_limit",
    "serial",
    "setup_cost",
    "shared_capacity",
    "spillover",
    "transshipment",
]

PROBLEMS = {
    problem.__name__: problem
    for problem in (
        newsvendor,
        setup_cost,
        lost_sales,
        serial,
        dual_sourcing,
        one_warehouse,
        spillover,
        transshipment,
        shared_capacity,
        restock_limit,
        batch_dispatch,
        deadline_dispatch,
    )
}
"""Every problem by name."""
