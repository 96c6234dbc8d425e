"""Prices on space and receiving are Lagrange multipliers, and the rules that pay them win."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import ndtri

import stockyard.agents as agents
from stockyard.agents.heuristics.base import Facts
from stockyard.agents.heuristics.capacity_priced import CapacityPriced
from stockyard.agents.heuristics.demand import expected_left
from stockyard.agents.heuristics.margins import weeks_of
from stockyard.agents.heuristics.prices import least_price, priced_fractile
from stockyard.agents.oracles import capacity
from stockyard.envs import textbook

RETAIL = {"id": "stockyard/Replenishment-v0", "size": "small"}
ZERO = np.zeros(1)


@pytest.fixture(scope="module")
def envs():
    """Four replicas of the steady world."""
    return gym.make_vec(num_envs=4, action="quantity", **RETAIL)


def test_expected_left_is_the_integral():
    """E max(x - D, 0) of a lognormal with mean 7 and log deviation .6."""
    law = stats.lognorm(0.6, scale=7.0 * np.exp(-0.18))
    for stock in (1.0, 7.0, 30.0):
        exact, _ = integrate.quad(law.cdf, 0.0, stock)
        found = expected_left(np.array(stock), np.array(7.0), np.array(0.6))
        assert float(found) == pytest.approx(exact, rel=1e-6)


def test_without_prices_the_fractile_is_the_newsvendors():
    """Margin over margin and holding, and nothing is ordered of what does not pay for its space."""
    assert priced_fractile(np.array([9.0]), np.ones(1), np.ones(1), ZERO, ZERO) == 0.9
    fractile = priced_fractile(np.array([9.0]), np.ones(1), np.ones(1), ZERO + 5.0, ZERO, 0.0)
    assert fractile == pytest.approx(9.0 / 15.0)
    assert priced_fractile(np.array([9.0]), np.ones(1), np.ones(1), ZERO + 5.0, ZERO, 1.0) == 0.4
    assert priced_fractile(np.array([9.0]), np.ones(1), np.ones(1), ZERO, ZERO + 9.0) == 0.0


def test_the_price_solves_the_newsvendor_with_two_products():
    """Brute force over both levels finds nothing better that fits (Hadley & Whitin 1963)."""
    margin, holding, volume = np.array([8.0, 6.0]), np.array([1.0, 1.0]), np.array([1.0, 0.4])
    mean, deviation, room = np.array([20.0, 30.0]), np.array([0.4, 0.6]), 30.0

    def levels(price):
        fractile = priced_fractile(margin, holding, volume, price[:, None], ZERO, 1.0)
        return mean * np.exp(ndtri(fractile) * deviation - deviation**2 / 2.0)

    def profit(stock):
        left = expected_left(stock, mean, deviation)
        return ((margin * (stock - left)) - holding * left).sum(axis=-1)

    price = least_price(lambda s: levels(s) @ volume > room, (1,), 100.0)
    found = levels(price)[0]
    assert found @ volume == pytest.approx(room, rel=1e-3) and price[0] > 0
    first = np.linspace(0.5, room, 2000)
    grid = np.stack((first, (room - first) / volume[1]), axis=1)
    assert profit(found) >= profit(grid).max() - 1e-2


@pytest.mark.parametrize("lead_time", [0, 2])
def test_without_a_limit_a_textbook_rule_is_the_newsvendor(lead_time):
    """One product, no capacity: nothing to pay for."""
    problem = textbook.lost_sales(textbook.Poisson(5), lead_time, 1, 4)
    fields = {"inventory_position": 0.0, "on_hand": 0.0}
    if lead_time > 1:
        fields["on_order_quoted"] = 0.0
    seen = {name: np.full((1, 1), value) for name, value in fields.items()}
    orders = [agents.make(n, problem).predict(seen)[0] for n in ("newsvendor", "priced_newsvendor")]
    assert orders[0] == orders[1] > 0


@pytest.mark.parametrize("volumes", [1.0, [1.0, 3.0, 0.5]])
def test_levels_under_a_shared_capacity_are_the_known_optimum(volumes):
    """One period: the oracle solves the same problem by its own method."""
    demand = [textbook.Normal(50, 8), textbook.Normal(30, 6), textbook.Normal(40, 9)]
    problem = textbook.shared_capacity(demand, 110, [0.2, 1, 0.5], [5, 3, 4], volumes, horizon=1)
    best, _ = capacity.best_levels(problem["scenario"])
    seen = {name: np.zeros((1, 3)) for name in ("inventory_position", "on_hand")}
    order, _ = agents.make("priced_newsvendor", problem).predict(seen)
    np.testing.assert_allclose(order[0], best, rtol=1e-4)


def test_prices_are_zero_where_nothing_is_short():
    """And the least that suffices elsewhere, entry by entry."""
    need = np.array([0.5, 4.0])
    price = least_price(lambda s: s < need - 0.5, (2,), 1e3)
    assert price[0] == 0.0 and price[1] == pytest.approx(3.5, rel=1e-2)


def test_a_capacity_adds_up_over_the_weeks_announced():
    """By hand: 10 days of 1, 2, ... a day are 7 and 3 * 2; after four weeks it stays."""
    announced = np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    assert weeks_of(announced, np.array([10.0])) == 13.0
    assert weeks_of(announced, np.array([42.0])) == 7 * (1 + 2 + 3 + 4) + 14 * 5.0


def test_with_room_for_all_the_rule_is_the_newsvendor_of_its_margins(envs):
    """Two prices, neither of which is needed."""
    observation, _ = envs.reset(seed=0)
    for field in ("storage_capacity", "receiving_capacity"):
        observation[field] = np.full_like(observation[field], 1e12)
    free, _ = agents.make("priced_newsvendor", envs, space_price=0.0).predict(observation)
    priced = agents.make("capacity_priced_newsvendor", envs, space_use=1, receiving_use=1)
    order, _ = CapacityPriced(
        Facts(envs), "test", slack_days=0.0, space_use=1.0, receiving_use=1.0
    ).predict(observation)
    np.testing.assert_allclose(order, free)
    assert (priced.predict(observation)[0] >= order).all()  # eight days of slack more


@pytest.mark.parametrize("field", ["storage_capacity", "receiving_capacity"])
def test_products_with_least_margin_per_volume_give_way(envs, field):
    """The scarcer the capacity, the less is ordered, and of the bulky and poor nothing first."""
    observation, _ = envs.reset(seed=0)
    observation["inventory_position"] = np.zeros_like(observation["inventory_position"])
    for name in ("on_order", "yard", "on_hand", "on_order_quoted"):
        observation[name] = np.zeros_like(observation[name])
    plenty = {"space_use": 9.0, "receiving_use": 9.0}
    limited = "space_use" if field == "storage_capacity" else "receiving_use"
    rule = agents.make(
        "capacity_priced_newsvendor", envs, **{**plenty, limited: 1.0}, entry_share=1.0
    )
    density = (observation["price"] - observation["unit_cost"]) / observation["volume"]
    free = agents.make("capacity_priced_newsvendor", envs, **plenty)
    orders = [free.predict(observation)[0]]
    for scarcity in (1.0, 0.5, 0.1):
        scarce = {**observation, field: observation[field] * scarcity}
        orders.append(rule.predict(scarce)[0])
    ordered = [(order * observation["volume"]).sum(axis=1) for order in orders]
    assert all((more > less).all() for more, less in itertools.pairwise(ordered))
    assert (orders[0] > 0).all()
    kept = orders[3] / orders[0]
    rows = np.arange(4)
    assert (kept[rows, density.argmax(axis=1)] > 0.3).all()
    assert (kept[rows, density.argmin(axis=1)] == 0.0).all()


def test_orders_fit_the_receiving_that_is_announced(envs):
    """What is open, in the yard and new together stays within it."""
    observation, _ = envs.reset(seed=0)
    tight = {**observation, "receiving_capacity": 0.7 * observation["receiving_capacity"]}
    rule = agents.make("capacity_priced_newsvendor", envs, space_use=9.0, receiving_use=1.0)
    order, _ = rule.predict(tight)
    shapes = envs.unwrapped.field_shapes
    dock = tight["receiving_capacity"].reshape(4, *shapes["receiving_capacity"])[:, 0]
    yard = tight["yard"].reshape(4, *shapes["yard"])[:, :, 0]
    until = tight["quoted_lead_time"].mean(axis=1) + 7.0
    work = (0.9 * (tight["on_order"] + order) + yard) * tight["volume"]
    assert (work.sum(axis=1) <= 1.001 * weeks_of(dock[:, None], until)[:, 0]).all()
    assert (work.sum(axis=1) >= 0.99 * weeks_of(dock[:, None], until)[:, 0]).any()


@pytest.mark.parametrize(
    ("field", "ahead"),
    [("receiving_capacity", "dock_ahead"), ("supplier_capacity", "supply_ahead")],
)
def test_announced_cuts_are_bought_ahead_of(envs, field, ahead):
    """Half is lost in the third and the fourth week from now: 7 days of cover more."""
    observation, _ = envs.reset(seed=0)
    shape = envs.unwrapped.field_shapes[field]
    cut = observation[field].reshape(4, *shape).copy()
    cut[..., 3:] *= 0.5
    observation[field] = cut.reshape(4, -1)
    given = {"space_use": 9.0, "receiving_use": 9.0}
    early = agents.make("prebuilding_newsvendor", envs, slack_days=2.0, **given, **{ahead: 1.0})
    plain = agents.make("capacity_priced_newsvendor", envs, slack_days=9.0, **given)
    np.testing.assert_allclose(early.predict(observation)[0], plain.predict(observation)[0])


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("priced_newsvendor", {"space_price": -1.0}, "space_price"),
        ("space_priced_newsvendor", {"space_use": 0.0}, "space_use"),
        ("space_priced_newsvendor", {"space_use": 1.0, "entry_share": 2.0}, "entry_share"),
        ("capacity_priced_newsvendor", {"receiving_use": 1.0}, "space_use"),
        ("forecast_mpc", {"spread": -1.0}, "spread"),
        ("smoothed_base_stock", {"safety_factor": 1.0, "receiving_use": 0.0}, "receiving_use"),
    ],
)
def test_wrong_numbers_are_named(envs, name, parameters, match):
    """A rule with nonsense in it must not run as if it had sense."""
    with pytest.raises(ValueError, match=match):
        agents.make(name, envs, **parameters)


def test_a_price_on_space_beats_base_stock():
    """Steady, held-out tapes, both at numbers tuned elsewhere."""
    level = agents.make("base_stock", RETAIL, safety_factor=0.31, cover_days=29.0)
    priced = agents.make(
        "space_priced_newsvendor", RETAIL, space_use=0.96, slack_days=8.5, entry_share=0.25
    )
    runs = [agents.evaluate(rule, RETAIL, num_tapes=64) for rule in (level, priced)]
    gain = runs[1].per_period_mean - runs[0].per_period_mean
    assert gain.mean() > 3.0 * gain.std() / 8.0
