"""One environment of every kind, by name, and how two of them are compared."""

from typing import Any

import gymnasium as gym
import numpy as np

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook

ID = "stockyard/Replenishment-v0"
NETWORK = "stockyard/Network-v0"
PLACEMENT = "stockyard/Placement-v0"
RESTOCK = "stockyard/RestockLimits-v0"
TRUCKS = "stockyard/TruckFill-v0"

LOST = textbook.lost_sales(
    demand=textbook.Poisson(5), lead_time=2, holding_cost=1, penalty_cost=9, horizon=20
)
PROBLEMS: dict[str, dict[str, Any]] = {
    "steady": {"id": ID, "scenario": "steady"},
    "real": {"id": ID, "scenario": "real"},
    "lost_sales": LOST,
    "newsvendor": textbook.newsvendor(
        demand=textbook.Normal(50, 8), holding_cost=0.18, penalty_cost=0.7, lead_time=4, horizon=20
    ),
    "setup_cost": textbook.setup_cost(
        demand=textbook.Poisson(6),
        holding_cost=1,
        penalty_cost=4,
        fixed_order_cost=5,
        horizon=20,
    ),
    "serial": textbook.serial(textbook.Poisson(5), (0, 1, 2), (7, 4, 2), 37, horizon=20),
    "stores": textbook.one_warehouse(textbook.Gamma(5, 2), 1, [1, 2], 0.5, 1, 9, horizon=20),
    "spillover": textbook.spillover(textbook.Poisson(5), 1, 8, 2, num_locations=3, horizon=20),
    "dispatch": textbook.deadline_dispatch(textbook.Poisson(5), 2, 6, 12, 1, 9, horizon=20),
    "placement": {"id": PLACEMENT, "scenario": "steady", "horizon": 14},
    "restock": {"id": RESTOCK, "scenario": "steady", "horizon": 224},
    "trucks": {"id": TRUCKS, "scenario": "steady", "horizon": 16},
    "network": {"id": NETWORK, "scenario": "steady", "horizon": 14},
    "real_network": {"id": NETWORK, "scenario": "real", "horizon": 14, "slots": ("place",)},
}


def make(name: str, **changes: Any) -> gym.Env[Any, Any]:
    """A single environment."""
    return gym.make(**{**PROBLEMS[name], **changes})


def make_batch(name: str, num_envs: int, **changes: Any) -> Any:
    """A batch environment."""
    return gym.make_vec(num_envs=num_envs, **{**PROBLEMS[name], **changes})


def same_tree(left: Any, right: Any, path: str = "") -> None:
    """Asserts that two nests of dictionaries and arrays hold the same bits."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for name in left:
            same_tree(left[name], right[name], f"{path}.{name}")
    else:
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right), err_msg=path)
