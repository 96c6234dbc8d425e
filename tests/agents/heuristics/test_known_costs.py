"""Simulated costs of the classical policies meet their exact values.

The exact values stand in `facts.json`. Their instances: lost sales of Zipkin (2008, Tables 3 and
4); fixed costs of Bijvank, Bhulai & Huh (2015, Table 1); dual sourcing of Gijsbrechts et al. (2022,
Fig. 9); series of Snyder & Shen (2019, example 6.1) and of Alvo et al. (2023); the others are our
own small instances. All values were recomputed: value iteration with the rule fixed, exact Markov
chains, the Clark-Scarf recursion, enumeration. Independent replicas give the standard error; a
difference of four of them fails, and a standard error above .5 % of the cost fails too.
"""

import json
import pathlib
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.envs import textbook

FACTS = json.loads((pathlib.Path(__file__).parent / "facts.json").read_text())
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


@pytest.mark.parametrize("rule", ["myopic", "myopic_2"])
@pytest.mark.parametrize("fact", FACTS["myopic"], ids=lambda f: f"{f['demand']}-{f['lead_time']}")
def test_myopic_rules_cost_what_the_exact_chain_says(fact: dict[str, Any], rule: str) -> None:
    """Zipkin's rows Myopic and Myopic2."""
    law = {"poisson": textbook.Poisson, "geometric": textbook.Geometric}[fact["demand"]](5)
    problem = textbook.lost_sales(law, fact["lead_time"], 1, fact["penalty_cost"])
    assert_cost(simulate(problem, rule)[0], fact[rule])


@pytest.mark.parametrize("fact", FACTS["lost_sales_levels"], ids=lambda f: f["rule"])
def test_level_rules_cost_what_the_exact_chain_says(fact: dict[str, Any]) -> None:
    """Capped base-stock, and Zipkin's row of the standard level, which the newsvendor rule sets."""
    problem = textbook.lost_sales(textbook.Poisson(5), fact["lead_time"], 1, fact["penalty_cost"])
    assert_cost(simulate(problem, fact["rule"], **fact["parameters"])[0], fact["cost"])


@pytest.mark.parametrize("fact", FACTS["fixed_cost"]["rules"], ids=lambda f: f["rule"])
def test_lot_rules_cost_what_the_exact_chain_says(fact: dict[str, Any]) -> None:
    """Three rules of Bijvank, Bhulai & Huh for lost sales with a fixed cost."""
    given = {k: v for k, v in FACTS["fixed_cost"].items() if k not in ("rules", "mean")}
    problem = textbook.lost_sales(textbook.Poisson(FACTS["fixed_cost"]["mean"]), **given)
    assert_cost(simulate(problem, fact["rule"], **fact["parameters"])[0], fact["cost"])


@pytest.mark.parametrize("fact", FACTS["dual_sourcing"], ids=lambda f: f["regular_lead_time"])
def test_dual_sourcing_rules_cost_what_the_exact_chain_says(fact: dict[str, Any]) -> None:
    """What all rules pay alike, 100 USD for each unit of demand, is taken out: it hides gaps."""
    problem = textbook.dual_sourcing(
        textbook.Uniform(0, 4),
        fact["regular_lead_time"],
        0,
        100,
        fact["expedited_cost"],
        5,
        495,
    )
    for each in fact["rules"]:
        costs, demand = simulate(problem, each["rule"], **each["parameters"])
        assert_cost(costs - 100.0 * (demand - 2.0), each["cost"])
        assert (costs - 100.0 * demand).std() < 0.05 * each["cost"]  # the gaps are seen


@pytest.mark.parametrize("fact", FACTS["serial"], ids=lambda fact: fact["name"])
def test_echelon_levels_cost_what_clark_and_scarf_say(fact: dict[str, Any]) -> None:
    """Optimal levels, with and without the cost of stock under way."""
    names = ("lead_times", "holding_costs", "penalty_cost", "charge_in_transit")
    problem = textbook.serial(
        textbook.Normal(fact["mean"], fact["sd"]), **{name: fact[name] for name in names}
    )
    costs, _ = simulate(
        problem, "echelon_base_stock", periods=700, warm_up=100, order_up_to=fact["order_up_to"]
    )
    assert_cost(costs, fact["cost"])


def test_location_levels_cost_what_the_exact_chain_says() -> None:
    """Spillover with a lead time of 1, transshipment with none: a level for each location."""
    spill = textbook.spillover(
        textbook.Pmf([0.3, 0.3, 0.25, 0.15]), 1, 8, 2, lead_time=1, stock_limit=6, num_locations=2
    )
    ship = textbook.transshipment(textbook.Poisson(10), 1, 4, 0.5, num_locations=2)
    for problem, fact in (
        (spill, FACTS["locations"]["spillover"]),
        (ship, FACTS["locations"]["transshipment"]),
    ):
        costs, _ = simulate(problem, "base_stock", order_up_to=fact["order_up_to"])
        assert_cost(costs, fact["cost"])


def test_product_levels_under_a_capacity_cost_what_enumeration_says() -> None:
    """Three products that fill the capacity."""
    fact = FACTS["shared_capacity"]
    problem = textbook.shared_capacity(
        [textbook.Poisson(4), textbook.Poisson(6), textbook.Poisson(9)], 18, 1, [5, 3, 4]
    )
    assert_cost(simulate(problem, "base_stock", order_up_to=fact["order_up_to"])[0], fact["cost"])


@pytest.mark.parametrize("fact", FACTS["batch_dispatch"], ids=lambda f: f"arrivals-{f['mean']}")
def test_control_limits_cost_what_the_exact_chain_says(fact: dict[str, Any]) -> None:
    """Optimal thresholds of one truck."""
    names = ("truck_capacity", "truck_cost", "holding_cost")
    problem = textbook.batch_dispatch(
        textbook.Poisson(fact["mean"]), **{name: fact[name] for name in names}
    )
    costs, _ = simulate(problem, "control_limit", threshold=fact["threshold"])
    assert_cost(costs, fact["cost"])


@pytest.mark.parametrize("rule", ["dispatch_when_due", "dispatch_when_full_or_due"])
def test_due_date_rules_cost_what_the_exact_chain_says(rule: str) -> None:
    """Parcels of slack 2, trucks of 6."""
    problem = textbook.deadline_dispatch(
        textbook.Pmf([0.1, 0.3, 0.4, 0.2]), 2, 6, 12, 0.2, 10, max_trucks=2
    )
    assert_cost(simulate(problem, rule)[0], FACTS["deadline_dispatch"][rule])
