"""Several stages: positions and transfers by hand, and how a short warehouse shares."""

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.agents.heuristics.echelons import ALLOCATIONS, allocate
from stockyard.envs import textbook

SERIAL = textbook.serial(textbook.Poisson(5), [2, 2, 2], [3, 2, 1], 9)
STORES = textbook.one_warehouse(textbook.Poisson(5), 2, 1, 1, 2, 9, num_stores=2)


def test_each_echelon_is_lifted_to_its_level_from_the_stock_before_it():
    """By hand: positions 4 + 1 - 2 = 3, 3 + 6 + 2 = 11 and 20; needs 7, 9 and 10."""
    observation = {
        "on_hand": [4, 6, 3],
        "backlog": [2],
        "backlog_by_region": [2],
        "in_transit": [1, 2],  # to stage 1, to stage 2
        "inbound": [6],
        "inventory_position": [4 + 6 + 3 + 1 + 2 + 6 - 2],
    }
    rule = agents.make("echelon_base_stock", SERIAL, order_up_to=[10, 20, 30])
    batch = {name: np.array([values], dtype=np.float32) for name, values in observation.items()}
    # stage 3 has 3 for the 9 that stage 2 needs; stage 2 has 6 for the 7 that stage 1 needs
    assert rule.predict(batch)[0].tolist() == [[10, 6, 3]]


def test_a_single_observation_is_taken_too():
    """`env.reset()` of a single environment gives no batch axis."""
    env = gym.make(**SERIAL)
    observation, _ = env.reset(seed=0)
    rule = agents.make("echelon_base_stock", env, order_up_to=[10, 20, 30])
    action, _ = rule.predict(observation)
    assert action.tolist() == [30, 0, 0]
    env.step(action)


def test_stores_come_before_the_warehouse_in_the_levels():
    """Levels run downstream first, wherever nodes stand in the network."""
    observation = {"on_hand": [9, 1, 2], "inbound": [4], "inventory_position": [16]}
    rule = agents.make("echelon_base_stock", STORES, order_up_to=[5, 4, 30])
    batch = {name: np.array([values], dtype=np.float32) for name, values in observation.items()}
    assert rule.predict(batch)[0].tolist() == [[14, 4, 2]]


@pytest.mark.parametrize(
    ("allocation", "weights", "shares"),
    [
        ("proportional", [1, 1], [3, 1]),
        ("equal", [1, 1], [2, 2]),
        ("weighted", [1, 1], [4, 0]),  # each bears 2 of the shortage of 4
        ("weighted", [3, 1], [3, 1]),  # they bear 3 and 1
    ],
)
def test_a_short_warehouse_shares_as_told(allocation, weights, shares):
    """Needs 6 and 2, stock 4."""
    given = allocate(
        np.array([[6.0, 2.0]]), np.array([4.0]), allocation, np.array(weights, float), True
    )
    assert given.tolist() == [shares]


@pytest.mark.parametrize("whole_units", [True, False])
@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_all_stock_that_is_needed_is_shared_and_no_more(allocation, whole_units):
    """Shares never exceed needs or stock, and leave nothing that anybody needs."""
    generator = np.random.default_rng(1)
    need = generator.integers(0, 9, (500, 4)).astype(float)
    stock = generator.integers(0, 25, 500).astype(float)
    given = allocate(need, stock, allocation, np.array([1.0, 2.0, 3.0, 0.5]), whole_units)
    assert (given >= -1e-9).all() and (given <= need + 1e-9).all()
    np.testing.assert_allclose(given.sum(axis=1), np.minimum(stock, need.sum(axis=1)), atol=1e-6)
    assert not whole_units or (given == np.round(given)).all()


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_one_warehouse_runs_within_reach(allocation):
    """What the rule decides the environment does, in a world where stores differ."""
    problem = textbook.one_warehouse(
        [textbook.Poisson(2), textbook.Poisson(6)], 2, 1, 1, 2, [9, 4], horizon=100
    )
    envs = gym.make_vec(num_envs=20, **problem)
    rule = agents.make("echelon_base_stock", envs, order_up_to=[6, 15, 34], allocation=allocation)
    observation, _ = envs.reset(seed=0)
    short = 0
    for _ in range(100):
        action, _ = rule.predict(observation)
        short += int((action[:, 1:].sum(axis=1) == observation["on_hand"][:, 0]).sum())
        observation, _, _, _, info = envs.step(action)
        assert (info["clip_fraction"] == 0).all()
    assert short > 50  # the shares are at work


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"order_up_to": [1, 2]}, "order_up_to: must be 3"),
        ({"order_up_to": [1, 2, np.nan]}, "order_up_to"),
        ({"order_up_to": [1, 2, 3], "allocation": "fair"}, "allocation: unknown"),
        ({"order_up_to": [1, 2, 3], "weights": [1, 1]}, "weights: need"),
        ({"order_up_to": [1, 2, 3], "weights": [1], "allocation": "weighted"}, "weights: must"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    """A rule with nonsense in it must not run as if it had sense."""
    with pytest.raises(ValueError, match=match):
        agents.make("echelon_base_stock", STORES, **parameters)


def test_levels_are_tuned_for_the_allocation_that_will_share():
    """The best levels under one way of sharing are not those under another."""
    small = {**STORES, "horizon": 60}
    scores = {}
    for played in ("proportional", "equal"):
        found = agents.tune(
            "echelon_base_stock", small, tapes=16, fixed={"allocation": played}
        ).parameters
        scores[played] = agents.evaluate(
            agents.make("echelon_base_stock", small, allocation="equal", **found),
            small,
            num_tapes=16,
            split="train",
        ).mean
    assert scores["equal"] >= scores["proportional"]
