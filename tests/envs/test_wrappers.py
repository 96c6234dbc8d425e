"""Wrappers change what an agent sees or does, and nothing that happens."""

import json

import gymnasium as gym
import numpy as np
import pytest

import stockyard.agents as agents
from stockyard.envs import textbook
from stockyard.envs.wrappers import (
    ObservationTransform,
    OrderUpTo,
    PerProduct,
    RescaleActions,
    Residual,
    TransformObservations,
    rescale_action,
)

RETAIL = {"id": "stockyard/Replenishment-v0", "num_envs": 2, "autoreset_mode": "disabled"}
PROBLEM = textbook.lost_sales(
    demand=textbook.Poisson(5), lead_time=2, holding_cost=1, penalty_cost=9, horizon=20
)


def test_scaled_observations_are_of_the_order_of_one():
    """A network that starts from unscaled stock levels learns nothing for a long time."""
    envs = gym.make_vec(**RETAIL)
    transform = ObservationTransform.for_env(envs)
    observation = transform(envs.reset(seed=0)[0])
    assert observation.shape == (2, *transform.space.shape)
    assert np.abs(observation).max() < 50
    assert 0.05 < np.abs(observation).mean() < 5


def test_a_transform_survives_its_record():
    """A run folder rebuilds the transform from JSON, to the last bit."""
    envs = gym.make_vec(**RETAIL)
    transform = ObservationTransform.for_env(envs)
    again = ObservationTransform.from_dict(json.loads(json.dumps(transform.to_dict())))
    observation, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(transform(observation), again(observation))
    assert again.space == transform.space


def test_unflattened_transform_keeps_the_fields():
    """Per-entity networks want named fields, scaled."""
    envs = gym.make_vec(**RETAIL)
    wrapped = TransformObservations(envs, ObservationTransform.for_env(envs, flatten=False))
    observation, _ = wrapped.reset(seed=0)
    assert wrapped.observation_space.contains(observation)


def test_final_observations_are_transformed_too():
    """A learner bootstraps from the last observation; it must look like all others."""
    envs = gym.make_vec(num_envs=2, autoreset_mode="same_step", **PROBLEM)
    wrapped = TransformObservations(envs, ObservationTransform.for_env(envs))
    wrapped.reset(seed=0)
    for _ in range(20):
        observation, *_, info = wrapped.step(np.full((2, 1), 5.0, np.float32))
    assert info["final_obs"][0].shape == observation[0].shape


def test_rescaled_actions_reach_both_bounds():
    """-1 is the lowest action and 1 the highest."""
    low, high = np.array([0.0, 2.0]), np.array([10.0, 4.0])
    np.testing.assert_array_equal(rescale_action(-np.ones(2), low, high), low)
    np.testing.assert_array_equal(rescale_action(np.ones(2), low, high), high)


def test_rescaled_batch_orders_what_the_plain_one_does():
    """Only the name of the action changes."""
    plain = gym.make_vec(num_envs=2, **PROBLEM)
    wrapped = RescaleActions(gym.make_vec(num_envs=2, **PROBLEM))
    high = plain.single_action_space.high
    plain.reset(seed=0)
    wrapped.reset(seed=0)
    for _ in range(10):
        expected = plain.step(np.full((2, 1), 5.0, np.float32))
        got = wrapped.step(np.full((2, 1), 5.0 / high * 2 - 1))
        np.testing.assert_allclose(got[1], expected[1], atol=1e-5)


def test_order_up_to_wrapper_is_the_base_stock_policy():
    """Levels and quantities are two names of one policy."""
    wrapped = OrderUpTo(gym.make_vec(num_envs=3, **PROBLEM))
    plain = gym.make_vec(num_envs=3, **PROBLEM)
    policy = agents.make("base_stock", PROBLEM, order_up_to=18)
    observation, _ = plain.reset(seed=4)
    wrapped.reset(seed=4)
    for _ in range(15):
        action, _ = policy.predict(observation)
        observation, expected, *_ = plain.step(action)
        np.testing.assert_array_equal(wrapped.step(np.full((3, 1), 18.0))[1], expected)


def test_zero_residual_is_the_rule():
    """Training starts at the rule only if the correction 0 changes nothing."""
    policy = agents.make("base_stock", PROBLEM, order_up_to=18)
    wrapped = Residual(gym.make_vec(num_envs=2, **PROBLEM), policy)
    plain = gym.make_vec(num_envs=2, **PROBLEM)
    wrapped.reset(seed=1)
    observation, _ = plain.reset(seed=1)
    for _ in range(15):
        action, _ = policy.predict(observation)
        observation, expected, *_ = plain.step(action)
        np.testing.assert_array_equal(wrapped.step(np.zeros((2, 1)))[1], expected)


def test_per_product_rows_add_up_to_the_replica():
    """One policy for all products must earn what the joint policy earns."""
    rows = PerProduct(gym.make_vec(**RETAIL))
    joint = gym.make_vec(**RETAIL)
    observation, _ = rows.reset(seed=0)
    joint.reset(seed=0)
    assert rows.num_envs == 24
    assert rows.observation_space.contains(observation)
    actions = np.linspace(-0.6, 0.2, 24, dtype=np.float32)
    _, reward, *_ = rows.step(actions[:, None])
    expected = joint.step(actions.reshape(2, 12))[1]
    np.testing.assert_allclose(reward.reshape(2, 12).sum(axis=1), expected, rtol=1e-12)


@pytest.mark.parametrize("wrapper", [OrderUpTo, lambda e: Residual(e, None)])
def test_quantity_wrappers_refuse_other_modes(wrapper):
    """A level in units makes no sense to an environment that reads covers."""
    with pytest.raises(ValueError, match="quantities"):
        wrapper(gym.make_vec(**RETAIL))


def test_zero_residual_is_the_rule_in_every_episode():
    """The step that only resets must not enter the memory of a rule."""
    rule = agents.make("naive", PROBLEM)  # infers sales from its last order
    wrapped = Residual(gym.make_vec(num_envs=2, **PROBLEM), rule)
    plain = gym.make_vec(num_envs=2, autoreset_mode="disabled", **PROBLEM)
    wrapped.reset(seed=1)
    for episode in range(3):
        observation, _ = plain.reset(seed=1 if episode == 0 else None)
        if episode:
            fresh, reward, *_ = wrapped.step(np.ones((2, 1)))
            assert (reward == 0).all()
            np.testing.assert_array_equal(
                fresh["inventory_position"], observation["inventory_position"]
            )
        state, start = None, np.ones(2, bool)
        for _ in range(20):
            action, state = rule.predict(observation, state, start)
            start = np.zeros(2, bool)
            observation, expected, *_ = plain.step(action)
            got = wrapped.step(np.zeros((2, 1)))
            np.testing.assert_array_equal(got[1], expected)
        assert got[3].all()


class Asked:
    """A rule that remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def predict(self, observation, state=None, episode_start=None):
        """Orders nothing."""
        self.calls.append((state, episode_start.all(), observation["inventory_position"]))
        return np.zeros_like(observation["inventory_position"]), "kept"


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_a_residual_s_rule_never_sees_the_end_of_an_episode(mode):
    """It is asked once for each order, and told which one begins an episode."""
    rule = Asked()
    wrapped = Residual(gym.make_vec(num_envs=2, autoreset_mode=mode, **PROBLEM), rule)
    wrapped.reset(seed=0)
    for _ in range(41 if mode == "next_step" else 40):
        wrapped.step(np.zeros((2, 1)))
    assert [start for _, start, _ in rule.calls] == ([True] + [False] * 19) * 2
    np.testing.assert_array_equal(rule.calls[20][2], rule.calls[0][2])


def test_per_product_rows_can_be_scaled():
    """A learner wants one policy for all products on scaled observations."""
    rows = PerProduct(gym.make_vec(**RETAIL))
    for flatten in (True, False):
        transform = ObservationTransform.for_env(rows, flatten=flatten)
        wrapped = TransformObservations(rows, transform)
        observation, _ = wrapped.reset(seed=0)
        assert wrapped.observation_space.contains(observation)
    wrapped = TransformObservations(rows, ObservationTransform.for_env(rows))
    observation, _ = wrapped.reset(seed=0)
    assert observation.shape[0] == 24
    assert 0.05 < np.abs(observation).mean() < 5
    joint = gym.make_vec(**RETAIL).unwrapped
    assert rows.field_shapes["forecast_quantiles"] == joint.field_shapes["forecast_quantiles"][1:]
    assert rows.field_shapes["price"] == (1,)
    assert rows.field_shapes["season"] == joint.field_shapes["season"]


def test_per_product_takes_seeds_by_replica_or_by_row():
    """Stable-Baselines3 gives every row a seed; replicas are what is drawn."""
    rows = PerProduct(gym.make_vec(**RETAIL))
    expected = rows.reset(seed=[3, 15])[1]["tape_hash"]
    by_row = rows.reset(seed=list(range(3, 27)))[1]["tape_hash"]
    np.testing.assert_array_equal(by_row, expected)
    first = rows.reset(seed=3)[1]["tape_hash"]
    assert first[0] == expected[0] and first[1] != expected[1]
    rows.reset(options={"reset_mask": np.ones(24, bool)})
    with pytest.raises(ValueError, match="seed"):
        rows.reset(seed=[1, 2, 3])


def test_per_product_splits_final_observations():
    """A learner bootstraps each row from that row's last observation."""
    arguments = {**RETAIL, "horizon": 14, "autoreset_mode": "same_step"}
    rows = PerProduct(gym.make_vec(**arguments))
    plain = PerProduct(gym.make_vec(**{**arguments, "autoreset_mode": "disabled"}))
    rows.reset(seed=0)
    plain.reset(seed=0)
    for _ in range(2):
        *_, info = rows.step(np.zeros((24, 1)))
        last, *_ = plain.step(np.zeros((24, 1)))
    assert info["final_obs"].shape == info["_final_obs"].shape == (24,)
    for i in range(24):
        assert rows.single_observation_space.contains(info["final_obs"][i])
        for name, values in last.items():
            np.testing.assert_array_equal(info["final_obs"][i][name], values[i])


SHARED = ("season", "days_to_event", "storage_capacity", "receiving_capacity")


def test_shared_fields_can_be_named():
    """By shape a field of N nodes is a product's where there are as many products."""
    rows = PerProduct(gym.make_vec(**RETAIL), shared=[*SHARED, "price"])
    assert rows.field_shapes["price"] == (12,)
    with pytest.raises(ValueError, match="shared: unknown 'sesaon'"):
        PerProduct(gym.make_vec(**RETAIL), shared=["sesaon"])
