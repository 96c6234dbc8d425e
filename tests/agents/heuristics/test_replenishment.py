"""The classical rules do what their sources say, in textbook problems and in retail worlds."""

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

import stockyard.agents as agents
from stockyard.agents.heuristics.base import demand_quantile
from stockyard.envs import textbook

RETAIL = {"id": "stockyard/Replenishment-v0", "size": "small"}
LOST = textbook.lost_sales(
    demand=textbook.Poisson(5), lead_time=2, holding_cost=1, penalty_cost=4, horizon=100
)
RULES = ("naive", "constant_order", "newsvendor", "base_stock", "capped_base_stock", "s_S")
PARAMETERS = {
    "constant_order": {"quantity": 4},
    "base_stock": {"order_up_to": 15},
    "capped_base_stock": {"order_up_to": 15, "cap": 5},
    "s_S": {"reorder_point": 12, "order_up_to": 18},
}


def observed(position: float, **fields: float) -> dict[str, np.ndarray]:
    """A batch of one textbook observation."""
    values = {"inventory_position": position, "on_hand": position, **fields}
    return {name: np.array([[value]]) for name, value in values.items()}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_runs_in_both_kinds_of_world(name):
    """A rule that fails somewhere would silently miss from a comparison."""
    textbook_rule = agents.make(name, LOST, **PARAMETERS.get(name, {}))
    run = agents.evaluate(textbook_rule, LOST, num_tapes=4, periods=40)
    assert np.isfinite(run.returns).all()
    retail = {"base_stock": {"safety_factor": 1.0}, "constant_order": {"quantity": 100}}
    retail["capped_base_stock"] = {"safety_factor": 1.0, "cap_reviews": 2.0}
    retail["s_S"] = {"safety_factor": 1.0, "lot_reviews": 1.0}
    rule = agents.make(name, RETAIL, **retail.get(name, {}))
    run = agents.evaluate(rule, RETAIL, num_tapes=2, periods=21)
    assert np.isfinite(run.returns).all()


@pytest.mark.parametrize(
    ("name", "position", "order"),
    [
        ("base_stock", 11, 4),
        ("base_stock", 20, 0),
        ("capped_base_stock", 2, 5),
        ("capped_base_stock", 12, 3),
        ("s_S", 12, 6),
        ("s_S", 13, 0),
        ("constant_order", 99, 4),
    ],
)
def test_orders_are_the_literatures(name, position, order):
    """By hand: S - x, min(S - x, cap), S - x if x <= s."""
    rule = agents.make(name, LOST, **PARAMETERS[name])
    assert rule.predict(observed(position))[0] == pytest.approx(order)


def test_naive_orders_what_was_sold():
    """The zero of the scores: last period's sales, seen or inferred."""
    rule = agents.make("naive", LOST)
    first, state = rule.predict(observed(10), None, np.array([True]))
    assert first == pytest.approx(5.0)  # the mean demand
    second, _ = rule.predict(observed(12), state, np.array([False]))
    assert second == pytest.approx(3.0)  # 10 + 5 - 12


def test_single_observations_are_taken_too():
    """`env.reset()` of a single environment gives no batch axis."""
    env = gym.make(**LOST)
    rule = agents.make("base_stock", env, order_up_to=15)
    observation, _ = env.reset(seed=0)
    action, _ = rule.predict(observation)
    assert action.shape == (1,)
    env.step(action)


def test_newsvendor_level_is_the_critical_fractile():
    """Snyder & Shen, example 4.3: Normal(50, 8), h = .18, p = .7 gives 56.604."""
    problem = textbook.newsvendor(textbook.Normal(50, 8), holding_cost=0.18, penalty_cost=0.7)
    order, _ = agents.make("newsvendor", problem).predict(observed(0.0))
    assert order[0, 0] == pytest.approx(56.604, abs=1e-3)


@pytest.mark.parametrize(
    ("demand", "law"),
    [
        (textbook.Poisson(5), stats.poisson(15)),
        (textbook.Geometric(5), stats.nbinom(3, 1 / 6)),
        (textbook.Gamma(5, 2), stats.gamma(3 * 6.25, scale=0.8)),
        (textbook.Normal(5, 2), stats.norm(15, 2 * 3**0.5)),
    ],
)
def test_quantiles_of_summed_demand_are_exact(demand, law):
    """Base-stock levels are quantiles of lead-time demand."""
    for level in (0.1, 0.5, 0.95):
        assert demand_quantile(demand, 3, level) == pytest.approx(law.ppf(level))


def test_quantile_by_convolution_matches_enumeration():
    """Two rolls of {0, 1, 2, 3, 4}: P(sum <= 4) = 15 / 25."""
    assert demand_quantile(textbook.Uniform(0, 4), 2, 0.6) == 4
    assert demand_quantile(textbook.Uniform(0, 4), 2, 0.61) == 5
    assert demand_quantile(textbook.Pmf([0.5, 0.5]), 2, 0.75) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("base_stock", {"order_up_to": float("nan")}, "order_up_to"),
        ("base_stock", {"order_up_to": [1, 2, 3]}, "order_up_to"),
        ("base_stock", {"safety_factor": 1.0}, "safety_factor"),
        ("capped_base_stock", {"order_up_to": 3}, "cap"),
        ("s_S", {"order_up_to": 3}, "reorder_point"),
        ("newsvendor", {"fractile": 1.5}, "fractile"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, match):
    """A heuristic with nonsense in it must not run as if it had sense."""
    with pytest.raises(ValueError, match=match):
        agents.make(name, LOST, **parameters)


def test_rules_order_as_their_sources_rank_them():
    """Lost sales, L = 2, p = 4: capped base-stock beats base-stock beats naive (Xin 2021)."""
    runs = {
        name: agents.evaluate(
            agents.make(name, LOST, **parameters), LOST, num_tapes=64, periods=300, warmup=50
        ).mean
        for name, parameters in {
            "naive": {},
            "base_stock": {"order_up_to": 17},
            "capped_base_stock": {"order_up_to": 18, "cap": 6},
        }.items()
    }
    assert runs["capped_base_stock"] > runs["base_stock"] > runs["naive"]
