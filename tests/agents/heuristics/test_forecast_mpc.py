"""The plan on the forecast is the best one, and the rule places its first week."""

import itertools
import time

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.agents.heuristics.base import Facts
from stockyard.agents.heuristics.forecast_mpc import ForecastMPC, Outlook, Planner

RETAIL = {"id": "stockyard/Replenishment-v0", "size": "small"}
PLENTY = 1e9


def outlook(demand, due, lag=1, **changes):
    """Known demand (P, W); orders join `lag` weeks later; margin 5, volume 1, no limits."""
    products, weeks = np.shape(demand)
    arriving = np.zeros((products, weeks))
    arriving[:, lag] = 1.0
    given = {
        "margin": np.full(products, 5.0),
        "holding": np.full(products, 0.1),
        "volume": np.ones(products),
        "pieces": np.asarray(demand, dtype=float)[..., None],
        "sold": np.ones((products, weeks, 1)),
        "due": np.asarray(due, dtype=float),
        "arriving": arriving,
        "space": np.full(weeks, PLENTY),
        "receiving": np.full(weeks, PLENTY),
        "shipping": np.full((1, weeks), PLENTY),
        "made_by": np.ones((products, 1)),
    }
    return Outlook(**{**given, **changes})


def test_known_demand_is_ordered_when_it_is_needed():
    """Lag 1: the order of a week is the demand of the next, less what is there."""
    orders = Planner(1, 4, 1, 1).plan(outlook([[10, 12, 8, 9]], [[15, 0, 4, 0]]))
    np.testing.assert_allclose(orders, [[7, 4, 9, 0]], atol=1e-6)


def test_a_full_dock_is_worked_ahead_of():
    """Week 2 can receive 3 of 8 units: the other 5 come a week early, as soon as they can."""
    plan = outlook([[0, 10, 8]], [[0, 0, 0]], receiving=np.array([PLENTY, PLENTY, 3.0]))
    np.testing.assert_allclose(Planner(1, 3, 1, 1).plan(plan), [[15, 3, 0]], atol=1e-6)


@pytest.mark.parametrize(("margin", "ordered"), [(4.0, 0.0), (5.5, 2.0)])
def test_what_the_docks_cannot_take_waits_at_a_price(margin, ordered):
    """Docks 4 ft3 behind that take 3 a week: two units more wait a week, at 5 USD each."""
    plan = outlook(
        [[0, 2, 0]],
        [[0, 0, 0]],
        margin=np.array([margin]),
        receiving=np.array([-4.0, 3.0, 3.0]),
    )
    np.testing.assert_allclose(Planner(1, 3, 1, 1).plan(plan)[0, 0], ordered, atol=1e-6)


def test_an_outage_of_the_supplier_is_bought_ahead_of():
    """Nothing ships in the second week: its 8 units are ordered in the first."""
    plan = outlook([[0, 10, 8, 6]], [[0, 0, 0, 0]], shipping=np.array([[30.0, 0.0, 30.0, 30.0]]))
    np.testing.assert_allclose(Planner(1, 4, 1, 1).plan(plan), [[18, 0, 6, 0]], atol=1e-6)


def test_scarce_space_goes_to_the_densest_margin():
    """10 ft3 for 10 units of 1 ft3 at 5 USD and 10 units of .5 ft3 at 4 USD: 10 of those, and 5."""
    plan = outlook(
        [[0, 10], [0, 10]],
        [[0, 0], [0, 0]],
        margin=np.array([5.0, 4.0]),
        volume=np.array([1.0, 0.5]),
        space=np.array([10.0, 10.0]),
    )
    # room beyond it costs 5 USD per ft3, as much as the margin of the bulky product
    np.testing.assert_allclose(Planner(2, 2, 1, 1).plan(plan)[:, 0], [5, 10], atol=1e-6)


def test_no_grid_of_orders_beats_the_plan():
    """Two pieces a week, a dock and a space: brute force over all orders in steps of a unit."""
    pieces = np.array([[[4.0, 4.0]] * 3])
    sold = np.array([[[0.9, 0.4]] * 3])
    plan = outlook([[0, 0, 0]], [[3, 0, 0]], pieces=pieces, sold=sold)
    orders = Planner(1, 3, 2, 1).plan(plan)[0]

    def worth(order):
        stock, earned = 0.0, 0.0
        for week in range(3):
            stock += plan.due[0, week] + (order[week - 1] if week else 0.0)
            first = min(stock, 4.0)
            sales = 0.9 * first + 0.4 * min(stock - first, 4.0)
            earned += 5.05 * sales - 0.1 * stock
            stock -= sales
        return earned

    best = max(worth(order) for order in itertools.product(range(13), repeat=2))
    assert worth(orders) >= best - 1e-6


def test_on_means_alone_and_without_limits_the_level_is_expected_demand():
    """Spread 0: the order is what is expected to be short in the week of its arrival."""
    envs = gym.make_vec(num_envs=2, action="quantity", **RETAIL)
    observation, _ = envs.reset(seed=0)
    given = {"space_use": 1e6, "receiving_use": 1e6, "delay_days": 0.0}
    observation["quoted_lead_time"] = np.full_like(observation["quoted_lead_time"], 14.0)
    for name in ("on_hand", "on_order", "on_order_quoted", "yard", "in_transfer"):
        observation[name] = np.zeros_like(observation[name])
    order, _ = ForecastMPC(Facts(envs), spread=0.0, **given).predict(observation)
    mean = observation["forecast_mean"].reshape(2, 12, 5)
    third_week = (mean[..., 2] - mean[..., 1]) / 2.0
    np.testing.assert_allclose(0.9 * order, third_week, rtol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_rule_runs_within_the_time_of_a_decision(spread):
    """Slower than 50 ms a decision would be judged on fewer tapes."""
    rule = agents.make("forecast_mpc", RETAIL, spread=spread)
    begun = time.process_time()  # a busy machine does not count
    run = agents.evaluate(rule, RETAIL, num_tapes=2)
    decisions = 2 * run.periods / 7
    assert np.isfinite(run.returns).all()
    assert (time.process_time() - begun) / decisions < 0.050
