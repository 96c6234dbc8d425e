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
