"""Simulated costs of classical policies meet their exact values.

The facts and their sources stand in `replenishment.json`. Independent replicas give the standard
error; a difference of four of them fails, and a standard error above .5 % of the cost proves
nothing and fails too.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.envs import textbook

FACTS = json.loads((pathlib.Path(__file__).parent / "replenishment.json").read_text())
REPLICAS = 500
WARM_UP = 50


def simulate(problem: dict[str, Any], rule: Callable[[Any], Any], periods: int) -> Any:
    """Mean cost per period of each replica, (REPLICAS,), after a warm-up."""
    envs = gym.make_vec(num_envs=REPLICAS, **problem)
    observation, _ = envs.reset(seed=20)
    total, clipped = np.zeros(REPLICAS), 0
    for period in range(WARM_UP + periods):
        orders = rule(observation["inventory_position"].astype(np.float64))
        observation, reward, _, _, info = envs.step(orders)
        if period >= WARM_UP:
            total -= reward
            clipped += int((info["clip_fraction"] > 0.0).sum())
    envs.close()
    assert clipped <= 1e-4 * periods * REPLICAS, "the action space cuts the policy's orders"
    return total / periods


def assert_cost(costs: Any, expected: float) -> None:
    """The mean of independent replicas is within four standard errors, themselves small."""
    error = costs.std(ddof=1) / np.sqrt(len(costs))
    assert error <= 0.005 * expected, f"standard error {error:.5f} proves nothing"
    gap = abs(costs.mean() - expected)
    assert gap <= 4.0 * error, f"{costs.mean():.5f} +- {error:.5f}, expected {expected}"


def base_stock(order_up_to: float) -> Callable[[Any], Any]:
    """Orders up to a level."""
    return lambda position: np.maximum(order_up_to - position, 0.0)


@pytest.mark.parametrize("fact", FACTS["newsvendor"], ids=lambda fact: fact["name"])
def test_newsvendor_costs_what_the_closed_form_says(fact: dict[str, Any]) -> None:
    """Ordering up to the critical fractile, Normal and Poisson, lead times 0 and 4."""
    if fact["distribution"] == "normal":
        demand: Any = textbook.Normal(fact["mean"], fact["sd"])
    else:
        demand = textbook.Poisson(fact["mean"])
    periods = 250 if fact["lead_time"] else 150
    problem = textbook.newsvendor(
        demand=demand,
        holding_cost=fact["holding_cost"],
        penalty_cost=fact["penalty_cost"],
        lead_time=fact["lead_time"],
        horizon=WARM_UP + periods,
    )
    # Normal demand is not clipped, so a position may exceed the level; Poisson never does.
    costs = simulate(problem, base_stock(fact["order_up_to"]), periods)
    assert_cost(costs, fact["cost"])


@pytest.mark.parametrize("fact", FACTS["setup_cost"], ids=lambda fact: f"mean-{fact['mean']}")
def test_reorder_points_cost_what_the_exact_chain_says(fact: dict[str, Any]) -> None:
    """The optimal (s, S), which orders at or below s."""
    periods = 300
    problem = textbook.setup_cost(
        demand=textbook.Poisson(fact["mean"]),
        holding_cost=fact["holding_cost"],
        penalty_cost=fact["penalty_cost"],
        fixed_order_cost=fact["fixed_order_cost"],
        horizon=WARM_UP + periods,
    )

    def rule(position: Any) -> Any:
        order = fact["order_up_to"] - position
        return np.where(position <= fact["reorder_point"], order, 0.0)

    assert_cost(simulate(problem, rule, periods), fact["cost"])


@pytest.mark.parametrize(
    "fact",
    [
        pytest.param(fact, marks=pytest.mark.wheel) if k == 0 else fact
        for k, fact in enumerate(FACTS["lost_sales"])
    ],
    ids=lambda fact: f"lead-{fact['lead_time']}-penalty-{fact['penalty_cost']}",
)
def test_lost_sales_cost_what_the_exact_chain_says(fact: dict[str, Any]) -> None:
    """The best base-stock level of Zipkin's Table 3, Poisson demand of mean 5."""
    periods = 450
    problem = textbook.lost_sales(
        demand=textbook.Poisson(fact["mean"]),
        lead_time=fact["lead_time"],
        holding_cost=fact["holding_cost"],
        penalty_cost=fact["penalty_cost"],
        horizon=WARM_UP + periods,
    )
    assert abs(fact["cost"] - fact["published_cost"]) <= 0.005 + 1e-9  # two decimals are printed
    assert_cost(simulate(problem, base_stock(fact["order_up_to"]), periods), fact["cost"])
