"""Simulated costs of classical policies meet their exact values, in a loop of our own.

`stockyard-validate` plays the whole table through `stockyard.agents.evaluate`; here a few of its
rows, by rules of one line and a loop of ten, so that a mistake in heuristics or evaluation cannot
hide one in the environment. Independent replicas give the standard error; a difference of four of
them fails, and a standard error above .5 % of the cost proves nothing and fails too.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.envs  # noqa: F401
from stockyard.agents.oracles.known_answers import Answer, Instance, load_table

TABLE = {instance.id: instance for instance in load_table()}
REPLICAS = 500
WARM_UP = 50


def answers(*names: str, policy: str) -> list[Any]:
    """The best parameters of a rule in some instances; the first runs against the wheel too."""
    found = []
    for name in names:
        given = [a for a in TABLE[name].answers if a.policy == policy]
        best = next((a for a in given if a.is_best), given[0])
        marks = [] if found else [pytest.mark.wheel]
        found.append(pytest.param(TABLE[name], best, id=name, marks=marks))
    return found


def simulate(instance: Instance, rule: Callable[[Any], Any], periods: int) -> Any:
    """Mean cost per period of each replica, (REPLICAS,), after a warm-up."""
    problem = {**instance.build(), "horizon": WARM_UP + periods}
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


@pytest.mark.parametrize(("instance", "answer"), answers("A1a", "A1b", "A1c", policy="base_stock"))
def test_newsvendor_costs_what_the_closed_form_says(instance: Instance, answer: Answer) -> None:
    """Ordering up to the critical fractile, Normal and Poisson, lead times 0 and 4."""
    # Normal demand is not clipped, so a position may exceed the level; Poisson never does.
    periods = 250 if instance.parameters["lead_time"] else 150
    costs = simulate(instance, base_stock(**answer.parameters), periods)
    assert_cost(costs, answer.recorded)


@pytest.mark.parametrize(
    ("instance", "answer"), answers("A2_Ex4.7_mu6", "A2_ZF91_mu10", policy="s_S")
)
def test_reorder_points_cost_what_the_exact_chain_says(instance: Instance, answer: Answer) -> None:
    """The optimal (s, S), which orders at or below s."""
    given = answer.parameters

    def rule(position: Any) -> Any:
        order = given["order_up_to"] - position
        return np.where(position <= given["reorder_point"], order, 0.0)

    assert_cost(simulate(instance, rule, 300), answer.recorded)


@pytest.mark.parametrize(
    ("instance", "answer"),
    answers(
        *(name for name in TABLE if name.startswith("A4_poisson_L")),
        policy="base_stock",
    ),
)
def test_lost_sales_cost_what_the_exact_chain_says(instance: Instance, answer: Answer) -> None:
    """The best base-stock level of Zipkin's Table 3, Poisson demand of mean 5."""
    assert answer.published is not None
    # two decimals are printed
    assert abs(answer.recorded - float(answer.published)) <= 0.005 + 1e-9
    assert_cost(simulate(instance, base_stock(**answer.parameters), 450), answer.recorded)
