"""Rules of lost-sales theory in retail worlds, and base-stock smoothed for the docks."""

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.agents.heuristics.base import Facts
from stockyard.agents.heuristics.forecast_pipeline import (
    ForecastDualBalancing,
    demand_between,
    left_at,
)
from stockyard.agents.heuristics.margins import Margins
from stockyard.agents.heuristics.stocking_points import StockingPoints

RETAIL = {"id": "stockyard/Replenishment-v0", "size": "small"}
WEEKS = np.array([1.0, 2.0, 4.0, 8.0, 13.0])


def seen(on_hand: float, quoted: list[float], weekly: float = 10.0, spread: float = 1e-3):
    """One product with an almost certain demand a week."""
    mean = weekly * WEEKS[None, None]
    quantiles = mean[..., None] * np.exp(spread * np.array([-1.2816, 0.0, 1.2816]))
    return {
        "forecast_mean": mean,
        "forecast_quantiles": quantiles,
        "on_hand": np.array([[[on_hand, 0.0]]]),
        "yard": np.zeros((1, 1, 2)),
        "in_transfer": np.zeros((1, 1)),
        "on_order_quoted": np.array([[quoted]]),
        "on_order": np.array([[sum(quoted)]]),
    }


@pytest.mark.parametrize(
    ("on_hand", "quoted", "days", "left"),
    [
        (30, [0, 0, 0], 14, 10),
        (0, [0, 0, 0], 14, 0),  # what was short is lost
        (0, [0, 20, 0], 14, 9),  # 18 come; half of them before ten are sold
        (30, [0, 0, 0], 10.5, 15),
        (5, [40, 0, 0], 7, 31),
    ],
)
def test_what_is_left_follows_lost_sales(on_hand, quoted, days, left):
    """By hand: ten a week, nine of ten units ordered arrive."""
    found = left_at(seen(on_hand, quoted), np.array([[float(days)]]))
    assert found[0, 0] == pytest.approx(left, abs=0.05)


def test_demand_of_a_window_carries_the_error_before_it():
    """Weeks 3 and 4 have half the demand of the first four and all of its error."""
    now = seen(0, [0], spread=0.3)
    _, whole = demand_between(now, np.array([[0.0]]), np.array([[28.0]]))
    mean, window = demand_between(now, np.array([[14.0]]), np.array([[28.0]]))
    assert mean[0, 0] == pytest.approx(20.0)
    assert np.expm1(window**2) == pytest.approx(4.0 * np.expm1(whole**2))


def test_projected_level_is_reached_on_arrival():
    """Order and what will be left are the level."""
    envs = gym.make_vec(num_envs=2, action="quantity", **RETAIL)
    observation, _ = envs.reset(seed=0)
    low, high = (
        agents.make("projected_inventory_level", envs, cover_days=days, safety_factor=0.0)
        for days in (40.0, 41.0)
    )
    both = [rule.predict(observation)[0] for rule in (low, high)]
    day = both[1] - both[0]
    mean = observation["forecast_mean"].reshape(2, 12, 5)
    daily = (mean[..., 3] - mean[..., 2]) / 28.0
    assert (both[0] > 0).all() and (day > 0.6 * daily).all() and (day < 1.1 * daily).all()


def test_a_balanced_order_costs_as_much_held_as_lost():
    """Recomputed from the two definitions, a week's steps of holding."""
    envs = gym.make_vec(num_envs=2, action="quantity", **RETAIL)
    facts = Facts(envs)
    observation, _ = envs.reset(seed=0)
    order, _ = ForecastDualBalancing(facts, 0.2, 7.0).predict(observation)
    now = {
        name: np.asarray(values, dtype=float).reshape(2, *facts.field_shapes[name])
        for name, values in observation.items()
    }
    margins = Margins(facts, StockingPoints(facts, "test"))
    lead = now["quoted_lead_time"]
    left = left_at(now, lead)
    draws = np.random.default_rng(0).standard_normal(100_000)

    def demand(days):
        mean, deviation = demand_between(now, lead, lead + days)
        return mean[..., None] * np.exp(deviation[..., None] * (draws - deviation[..., None] / 2))

    lost = np.maximum(demand(7.0) - (left + order)[..., None], 0.0).mean(axis=-1)
    held = sum(
        (
            np.maximum((left + order)[..., None] - demand(7.0 * k), 0.0)
            - np.maximum(left[..., None] - demand(7.0 * k), 0.0)
        ).mean(axis=-1)
        for k in range(1, 9)
    )
    cost_held = 7.0 * (margins.over_per_day(now) + 0.2 * now["volume"]) * held
    cost_lost = margins.short(now) * lost
    some = order > 1.0
    assert some.any()
    np.testing.assert_allclose(cost_held[some], cost_lost[some], rtol=0.1, atol=1.0)


def test_smoothing_cuts_all_orders_in_proportion_to_the_docks():
    """A dock that receives little gets little, and each product its share."""
    envs = gym.make_vec(num_envs=2, action="quantity", **RETAIL)
    observation, _ = envs.reset(seed=0)
    given = {"safety_factor": 1.0, "cover_days": 60.0}
    whole, _ = agents.make("base_stock", envs, **given).predict(observation)
    cut, _ = agents.make("smoothed_base_stock", envs, receiving_use=0.5, **given).predict(
        observation
    )
    dock = observation["receiving_capacity"].reshape(2, -1, 5)[:, 0, 0]
    np.testing.assert_allclose((cut * observation["volume"]).sum(axis=1), 3.5 * dock, rtol=1e-5)
    share = cut / np.maximum(whole, 1e-9)
    np.testing.assert_allclose(share, np.broadcast_to(share[:, :1], share.shape), rtol=1e-6)
    free, _ = agents.make("smoothed_base_stock", envs, receiving_use=99.0, **given).predict(
        observation
    )
    np.testing.assert_allclose(free, whole)


def test_modified_s_S_follows_the_forecast_too():  # noqa: N802
    """A smallest and a largest order in weeks of demand around base-stock."""
    envs = gym.make_vec(num_envs=2, action="quantity", **RETAIL)
    observation, _ = envs.reset(seed=0)
    given = {"safety_factor": 0.5, "cover_days": 30.0}
    whole, _ = agents.make("base_stock", envs, **given).predict(observation)
    rule = agents.make("modified_s_S", envs, lot_reviews=1.0, cap_reviews=2.0, **given)
    order, _ = rule.predict(observation)
    week = observation["forecast_mean"].reshape(2, 12, 5)[..., 0].astype(float)
    np.testing.assert_allclose(order, np.where(whole < week, 0.0, np.minimum(whole, 2.0 * week)))
