"""Simulated costs of the classical policies meet the exact values of the table of known answers.

`stockyard-validate` plays the whole table through `stockyard.agents.evaluate`; here some of its
rows go through a loop of our own. Independent replicas give the standard error; a difference
of four of them fails, and a standard error above .5 % of the cost fails too.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.agents.oracles.known_answers import Answer, Instance, load_table

TABLE = {instance.id: instance for instance in load_table()}
REPLICAS = 500
CUT = 1e-5  # observations are float32, so that sending all there is may ask for a grain too much


def simulate(
    problem: dict[str, Any], name: str, *, periods: int = 400, warm_up: int = 60, **parameters: Any
) -> tuple[Any, Any]:
    """Mean cost, and mean demand of all products and regions, per period of each replica."""
    envs = gym.make_vec(num_envs=REPLICAS, **{**problem, "horizon": warm_up + periods})
    rule = agents.make(name, envs, **parameters)
    observation, _ = envs.reset(seed=20)
    demand = np.asarray(envs.unwrapped.tape.demand)[warm_up : warm_up + periods]
    total, state, start = np.zeros(REPLICAS), None, np.ones(REPLICAS, dtype=bool)
    for period in range(warm_up + periods):
        action, state = rule.predict(observation, state, start)
        start = np.zeros(REPLICAS, dtype=bool)
        observation, reward, _, _, info = envs.step(action)
        assert info["clip_fraction"].max() <= CUT, "the environment cuts what the rule decides"
        if period >= warm_up:
            total -= reward
    envs.close()
    return total / periods, demand.sum(axis=(2, 3)).mean(axis=0)


def assert_cost(costs: Any, expected: float) -> None:
    """The mean of independent replicas is within four standard errors, themselves small."""
    error = costs.std(ddof=1) / np.sqrt(len(costs))
    assert error <= 0.005 * expected, f"standard error {error:.5f} proves nothing"
    gap = abs(costs.mean() - expected)
    assert gap <= 4.0 * error, f"{costs.mean():.5f} +- {error:.5f}, expected {expected}"


def rows(policies: Sequence[str], *names: str) -> list[Any]:
    """The answers of rules in some instances, those with the best parameters where these are known.

    An instance without an answer of a rule is a mistake: nothing would be tested.
    """
    found = []
    for name in names:
        for policy in policies:
            given = [answer for answer in TABLE[name].answers if answer.policy == policy]
            best = next((answer for answer in given if answer.is_best), given[0])
            found.append(pytest.param(TABLE[name], best, id=f"{name}-{policy}"))
    return found


@pytest.mark.parametrize(
    ("instance", "answer"),
    [
        *rows(("myopic", "myopic_2"), "A4_poisson_L1_p4", "A4_poisson_L4_p9", "A4_geometric_L2_p9"),
        *rows(("capped_base_stock", "newsvendor", "constant_order"), "A4_poisson_L2_p4"),
        *rows(("s_S", "r_Q", "modified_s_S"), "A4_fixed_cost"),
        *rows(("base_stock",), "B5", "B6"),
        *rows(("control_limit",), "D2/a", "D2/b", "D2/c"),
        *rows(("dispatch_when_due", "dispatch_when_full_or_due"), "D3"),
    ],
)
def test_rules_cost_what_the_exact_chain_says(instance: Instance, answer: Answer) -> None:
    """Lost sales, lots, locations and trucks."""
    costs, _ = simulate(instance.build(), answer.policy, **answer.parameters)
    assert_cost(costs, answer.recorded)


@pytest.mark.parametrize(
    ("instance", "answer"),
    rows(
        ("capped_dual_index", "dual_index", "single_index", "tailored_base_surge"),
        "A5_lr2_ce110",
        "A5_lr4_ce110",
    ),
)
def test_dual_sourcing_rules_cost_what_the_exact_chain_says(
    instance: Instance, answer: Answer
) -> None:
    """What all rules pay alike, the regular price of all demand, is taken out: it hides gaps."""
    problem = instance.build()
    price, mean = problem["scenario"].regular_cost, problem["scenario"].demand.mean
    costs, demand = simulate(problem, answer.policy, **answer.parameters)
    assert_cost(costs - price * (demand - mean), answer.recorded)
    assert (costs - price * demand).std() < 0.05 * answer.recorded  # the gaps are seen


@pytest.mark.parametrize(
    ("instance", "answer"),
    rows(("echelon_base_stock",), "A3a", "A7_serial_p4/on-hand", "A7_serial_p19"),
)
def test_echelon_levels_cost_what_clark_and_scarf_say(instance: Instance, answer: Answer) -> None:
    """Optimal levels, with and without the cost of stock under way."""
    problem = instance.build()
    costs, _ = simulate(problem, answer.policy, periods=700, warm_up=100, **answer.parameters)
    assert_cost(costs, answer.recorded)


def test_product_levels_under_a_capacity_cost_what_enumeration_says() -> None:
    """Three products that fill the capacity; the optimum is to order up to fixed levels."""
    instance = TABLE["C7"]
    optimum = instance.answers[0]
    assert optimum.policy == "optimal"
    costs, _ = simulate(instance.build(), "base_stock", **optimum.parameters)
    assert_cost(costs, optimum.recorded)
