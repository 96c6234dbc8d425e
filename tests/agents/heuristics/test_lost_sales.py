"""The rules that look through the pipeline, by hand and by enumeration."""

import functools

import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.agents.heuristics.base import Facts
from stockyard.agents.heuristics.lost_sales import DualBalancing, Tables
from stockyard.envs import textbook

RULES = ("myopic", "myopic_2", "dual_balancing")


def problem(pmf, lead_time, penalty_cost, holding_cost=1):
    """Lost sales with demand 0, 1, ... of given probabilities."""
    return textbook.lost_sales(textbook.Pmf(pmf), lead_time, holding_cost, penalty_cost)


def observed(*pipelines):
    """A batch of observations: on hand, then what arrives in 1, 2, ... periods."""
    rows = np.array(pipelines, dtype=np.float32)
    fields = {"on_hand": rows[:, :1], "inventory_position": rows.sum(axis=1, keepdims=True)}
    if rows.shape[1] > 1:
        fields["on_order_quoted"] = rows[:, 1:]
    return fields


def orders(name, env, *pipelines, **parameters):
    """What a rule orders in each of these states."""
    return agents.make(name, env, **parameters).predict(observed(*pipelines))[0][:, 0].tolist()


def test_the_myopic_order_is_the_newsvendors_on_what_is_left():
    """Demand 0, 1, 2 alike, x = 1: P(D <= Y + z) is 4/9 at z = 0 and 7/9 >= 3/4 at z = 1."""
    assert orders("myopic", problem([1 / 3] * 3, 1, 3), [1]) == [1]
    assert orders("myopic", problem([1 / 3] * 3, 1, 4), [1]) == [2]  # 7/9 < 4/5


def test_the_projected_level_is_reached_on_arrival():
    """Demand 0, 1, 2 alike, x = 1: E[Y] = 1/3, to the nearest unit."""
    env = problem([1 / 3] * 3, 1, 3)
    assert orders("projected_inventory_level", env, [1], level=2.0) == [2]
    assert orders("projected_inventory_level", env, [1], level=1.5) == [1]
    assert orders("projected_inventory_level", env, [9], level=1.5) == [0]


def test_the_projection_loses_sales():
    """L = 2, demand always 2: (1, 3) leaves 3 - 2 = 1, where the position would say 4 - 4 = 0."""
    env = problem([0, 0, 1], 2, 3)
    assert orders("projected_inventory_level", env, [1, 3], level=4.0) == [3]


def test_dual_balancing_weighs_shelf_time_against_lost_sales():
    """Demand 0 or 1 alike: one unit waits 1/2 + 1/4 + ... = 1 period, an empty shelf loses 1/2."""
    assert orders("dual_balancing", problem([0.5, 0.5], 1, 4), [0], [2]) == [1, 0]
    assert orders("dual_balancing", problem([0.5, 0.5], 1, 1.9), [0]) == [0]  # 0.95 < 1


def test_shelf_time_is_that_of_the_units_alone():
    """Demand 0 or 1 alike: m units wait 1, 1 + 3 periods; two rows by the renewal equation."""
    facts = Facts(agents_env := _built(problem([0.5, 0.5], 1, 4)))
    np.testing.assert_allclose(Tables(facts, 6).shelf_time[:4], [0.0, 1.0, 4.0, 9.0])
    assert isinstance(agents.make("dual_balancing", agents_env), DualBalancing)


def test_shelf_time_agrees_with_simulation():
    """Geometric demand: the expected sum of max(m - D_1 - ... - D_n, 0) over n."""
    facts = Facts(_built(textbook.lost_sales(textbook.Geometric(2), 1, 1, 9)))
    demand = np.random.default_rng(0).geometric(1 / 3, (20_000, 60)) - 1
    left = np.maximum(8 - demand.cumsum(axis=1), 0).sum(axis=1)
    error = left.std() / np.sqrt(len(left))
    assert Tables(facts, 9).shelf_time[8] == pytest.approx(left.mean(), abs=4 * error)


def _built(specification):
    import gymnasium as gym

    return gym.make_vec(num_envs=1, **specification)


@pytest.mark.parametrize("lead_time", [1, 2, 3])
@pytest.mark.parametrize("name", ["myopic", "myopic_2"])
def test_looking_ahead_agrees_with_enumeration(name, lead_time):
    """The definition, demand by demand, in states with stocks and pipelines of 0 to 3."""
    pmf, h, p = (0.2, 0.3, 0.3, 0.2), 1.0, 7.0

    def after(state, order, demand):
        pipeline = (max(state[0] - demand, 0), *state[1:], order)
        return (pipeline[0] + pipeline[1], *pipeline[2:])

    @functools.cache
    def arrival_cost(state, order):
        """Expected cost of the period in which the order arrives, L periods ahead."""
        if len(state) == 0:
            raise AssertionError
        total = {state: 1.0}
        for step in range(lead_time):
            following = {}
            for s, chance in total.items():
                for d, q in enumerate(pmf):
                    s2 = after(s, order if step == 0 else 0, d)
                    following[s2] = following.get(s2, 0.0) + chance * q
            total = following
        return sum(
            chance * q * (h * max(s[0] - d, 0) + p * max(d - s[0], 0))
            for s, chance in total.items()
            for d, q in enumerate(pmf)
        )

    def two_period_cost(state, order):
        later = sum(
            q * min(arrival_cost(after(state, order, d), z) for z in range(7))
            for d, q in enumerate(pmf)
        )
        return arrival_cost(state, order) + later

    cost = arrival_cost if name == "myopic" else two_period_cost
    generator = np.random.default_rng(3)
    states = [tuple(row) for row in generator.integers(0, 4, (12, lead_time)).tolist()]
    decided = orders(name, problem(pmf, lead_time, p), *states)
    for state, order in zip(states, decided, strict=True):
        least = min(cost(state, z) for z in range(7))
        assert cost(state, int(order)) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("name", RULES)
def test_without_a_lead_time_the_rules_order_up_to_a_level(name):
    """Nothing is on the way: what is left is what there is."""
    decided = orders(name, problem([0.25] * 4, 0, 3), [0], [1], [2], [5])
    assert decided[0] - 1 == decided[1] and decided[3] == 0
    if name != "dual_balancing":
        assert decided == [2, 1, 0, 0]  # the 3/4 quantile is 2


@pytest.mark.parametrize("name", [*RULES, "projected_inventory_level"])
@pytest.mark.parametrize(
    "env",
    [
        textbook.lost_sales(textbook.Normal(5, 1), 1, 1, 9),
        textbook.newsvendor(textbook.Poisson(5), 1, 9),
        textbook.shared_capacity(textbook.Poisson(5), 20, 1, 9, num_products=2),
        textbook.dual_sourcing(textbook.Uniform(0, 4), 2, 0, 100, 110, 5, 495),
        textbook.lost_sales(textbook.Poisson(5), 1, 0, 9),
    ],
    ids=["continuous", "backorders", "products", "suppliers", "free"],
)
def test_other_problems_are_refused_by_name(name, env):
    """A rule that needs a pipeline of lost sales says so, with its name."""
    with pytest.raises(ValueError, match=f"^{name}: "):
        agents.make(name, env, **({"level": 5} if name.startswith("proj") else {}))


def test_stock_beyond_the_tables_is_worked_out_too():
    """The tables grow with the stocks that occur."""
    env = textbook.lost_sales(textbook.Poisson(5), 2, 1, 9)
    assert orders("myopic_2", env, [0, 0], [400, 3], [3, 700])[1:] == [0, 0]
