"""The classical rules do what their sources say, in textbook problems and in retail worlds."""

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

import stockyard.agents as agents
from stockyard.agents.heuristics.base import Facts
from stockyard.agents.heuristics.demand import LARGEST_DEVIATION, demand_quantile, forecast_over
from stockyard.agents.heuristics.replenishment import OrderUpTo
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


def test_naive_remembers_the_order_that_the_bounds_let_through():
    """A backlog is sold at once, but ordered a bound at a time; the rest was never on its way."""
    rule = agents.make("naive", LOST)
    most = gym.make(**LOST).action_space.high[0]
    _, state = rule.predict(observed(10), None, np.array([True]))
    order, state = rule.predict(observed(-500), state, np.array([False]))
    assert order == pytest.approx(most) and state == pytest.approx(-500 + most)


@pytest.mark.parametrize(
    ("holding", "penalty", "match"),
    [(0, 9, "holding_cost.*would be 1"), (0, 0, "holding_cost"), (1, 0, "penalty_cost.*be 0")],
)
def test_newsvendor_names_the_cost_that_is_zero(holding, penalty, match):
    """Nobody gave a fractile, so a message about a fractile of 1 would help nobody."""
    problem = textbook.newsvendor(textbook.Poisson(5), holding_cost=holding, penalty_cost=penalty)
    with pytest.raises(ValueError, match=match):
        agents.make("newsvendor", problem)
    assert agents.make("newsvendor", problem, fractile=0.5).predict(observed(0.0))[0] > 0


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


def forecast(mean: float, median: float, high: float) -> dict[str, np.ndarray]:
    """Forecasts of one product at five horizons, growing with the horizon."""
    growth = np.array([1.0, 2.0, 4.0, 8.0, 13.0])[None, None]
    quantiles = np.array([0.0, median, high])
    return {
        "forecast_mean": mean * growth,
        "forecast_quantiles": growth[..., None] * quantiles,
    }


@pytest.mark.parametrize("high", [0.0, 0.5, 3.0, 10.0])
def test_a_product_that_often_sells_nothing_is_ordered(high):
    """P50 = 0 must not make the deviation explode, and the level vanish."""
    mean, deviation = forecast_over(forecast(1.0, 0.0, high), np.array([[20.0]]))
    levels = [float(mean[0, 0] * np.exp(z * d - d**2 / 2)) for d in deviation[0] for z in (0, 1, 2)]
    assert levels == sorted(levels) and 0.3 * mean < levels[0] < levels[2] < 10 * mean


def test_levels_change_little_as_the_median_vanishes():
    """A median of a thousandth of a unit and one of zero are the same product."""
    _, none = forecast_over(forecast(1.0, 0.0, 3.0), np.array([[20.0]]))
    _, some = forecast_over(forecast(1.0, 1e-3, 3.0), np.array([[20.0]]))
    np.testing.assert_allclose(some, none)
    _, plain = forecast_over(forecast(1.0, 0.9, 1.8), np.array([[20.0]]))
    np.testing.assert_allclose(plain, np.log(2.0) / stats.norm.ppf(0.9))


@pytest.mark.parametrize("scenario", ["steady", "real"])
def test_ordinary_forecasts_stay_below_the_cap(scenario):
    """The cap is for bursty products; the small worlds have none."""
    observation, _ = gym.make_vec(num_envs=2, scenario=scenario, **RETAIL).reset(seed=0)
    envs = gym.make_vec(num_envs=2, scenario=scenario, **RETAIL)
    shapes = envs.unwrapped.field_shapes
    fields = {
        name: observation[name].reshape(2, *shapes[name])
        for name in ("forecast_mean", "forecast_quantiles")
    }
    _, deviation = forecast_over(fields, np.full((2, 12), 20.0))
    assert deviation.max() < LARGEST_DEVIATION


def test_every_bursty_product_of_the_large_panel_is_ordered():
    """On the shipped panel the slowest products have P50 = 0."""
    envs = gym.make_vec(
        "stockyard/Replenishment-v0", num_envs=1, scenario="real", size="large", action="quantity"
    )
    observation, _ = envs.reset(seed=0)
    shapes = envs.unwrapped.field_shapes
    quantiles = observation["forecast_quantiles"].reshape(1, *shapes["forecast_quantiles"])
    slow = quantiles[..., 0, 1] == 0
    observation["inventory_position"] = np.zeros_like(observation["inventory_position"])
    orders, _ = OrderUpTo(Facts(envs), safety_factor=1.28).predict(observation)
    assert (orders > 0).all() and (orders[slow] > 0).all()


def test_an_environment_without_a_task_is_refused():
    """The facts of a rule are those of a replenishment environment."""
    with pytest.raises(ValueError, match="heuristics need an environment"):
        Facts(gym.make("CartPole-v1"))
