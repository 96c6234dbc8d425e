"""The adapter against Stable-Baselines3's own, on an environment that both can run."""

import gymnasium as gym
import numpy as np
import pytest
import tiny_network
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from stockyard.agents.learners.adapter import VectorEnvAdapter

NUM_ENVS = 4


def cart_pole():
    """A CartPole that is cut off early, so that both kinds of end occur."""
    return gym.make("CartPole-v1", max_episode_steps=25)


@pytest.fixture
def adapter():
    """CartPole through the adapter."""
    envs = SyncVectorEnv([cart_pole] * NUM_ENVS, autoreset_mode=AutoresetMode.DISABLED)
    return VectorEnvAdapter(envs)


@pytest.fixture
def tiny():
    """The tiny network through the adapter."""
    return VectorEnvAdapter(
        gym.make_vec(tiny_network.ID, num_envs=3, autoreset_mode="disabled"), reward_scale=4.0
    )


def test_it_equals_the_adapter_of_stable_baselines_bit_for_bit(adapter):
    """Observations, rewards, ends, last observations and truncations, over many episodes."""
    reference = DummyVecEnv([cart_pole] * NUM_ENVS)
    adapter.seed(7)
    reference.seed(7)
    np.testing.assert_array_equal(adapter.reset(), reference.reset())
    rng = np.random.default_rng(0)
    ends, cut_off = 0, 0
    for _ in range(300):
        # Mostly against the lean, so that some episodes live long enough to be cut off.
        actions = np.where(rng.random(NUM_ENVS) < 0.2, 0, 1 - rng.integers(0, 2, NUM_ENVS))
        got, expected = adapter.step(actions), reference.step(actions)
        for mine, theirs in zip(got[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
        for mine, theirs in zip(got[3], expected[3], strict=True):
            assert ("terminal_observation" in mine) == ("terminal_observation" in theirs)
            if "terminal_observation" in theirs:
                ends += 1
                cut_off += theirs["TimeLimit.truncated"]
                np.testing.assert_array_equal(
                    mine["terminal_observation"], theirs["terminal_observation"]
                )
                assert mine["TimeLimit.truncated"] == theirs["TimeLimit.truncated"]
    assert ends > cut_off > 0


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_batch_that_resets_itself_is_refused(mode):
    """A step without an action must not enter the learner's memory."""
    with pytest.raises(ValueError, match="autoreset_mode='disabled'"):
        VectorEnvAdapter(SyncVectorEnv([cart_pole], autoreset_mode=mode))


def test_rewards_are_divided_by_a_constant_and_returns_are_not(tiny):
    """The learner likes small numbers, a person the money."""
    plain = gym.make_vec(tiny_network.ID, num_envs=3, autoreset_mode="disabled")
    tiny.seed(5)
    tiny.reset()
    plain.reset(seed=5)
    total = np.zeros(3)
    actions = np.full((3, 1), 0.25, np.float32)
    for _ in range(plain.unwrapped.steps_per_episode):
        _, scaled, done, infos = tiny.step(actions)
        _, reward, *_ = plain.step(actions)
        total += reward
        np.testing.assert_allclose(scaled * 4.0, reward, rtol=1e-6)
    assert done.all()
    np.testing.assert_allclose([info["episode"]["r"] for info in infos], total)
    assert {info["episode"]["l"] for info in infos} == {plain.unwrapped.steps_per_episode}
    assert all(info["TimeLimit.truncated"] for info in infos)


def test_a_scale_of_nothing_is_refused():
    """Division by zero would end in NaN weights, much later."""
    envs = gym.make_vec(tiny_network.ID, num_envs=1, autoreset_mode="disabled")
    with pytest.raises(ValueError, match="reward_scale must be positive"):
        VectorEnvAdapter(envs, reward_scale=0.0)


def test_rows_get_their_own_seeds(tiny):
    """Row i of a batch seeded s is the environment seeded s + i."""
    tiny.seed(11)
    tiny.reset()
    assert tiny.envs.unwrapped.seeds == [11, 12, 13]


def test_observations_are_copies(tiny):
    """An environment may write its next observation into the same arrays."""
    first = tiny.reset()
    kept = {name: values.copy() for name, values in first.items()}
    tiny.step(np.zeros((3, 1), np.float32))
    for name, values in kept.items():
        np.testing.assert_array_equal(first[name], values)


def test_attributes_and_methods_are_those_of_the_batch(tiny):
    """Callbacks ask the environment through the adapter."""
    assert tiny.get_attr("horizon") == [16, 16, 16]
    assert tiny.get_attr("horizon", indices=[0]) == [16]
    assert tiny.has_attr("periods_per_step") and not tiny.has_attr("nothing")
    tiny.set_attr("note", "here")
    assert tiny.envs.unwrapped.note == "here"
    with pytest.raises(ValueError, match="belongs to the whole batch"):
        tiny.set_attr("note", "there", indices=0)
    tiny.envs.unwrapped.rows = lambda: np.arange(3)
    assert tiny.env_method("rows", indices=[1, 2]) == [1, 2]
    tiny.envs.unwrapped.word = lambda: "one"
    assert tiny.env_method("word") == ["one"] * 3
    assert tiny.env_is_wrapped(gym.Wrapper) == [False] * 3


def test_one_picture_of_the_batch_is_one_image(tiny):
    """A picture (H, W, 3) is no list of H pictures."""
    picture = np.zeros((4, 6, 3), np.uint8)
    for shown, images in ((picture, 1), ([picture] * 3, 3), (np.stack([picture] * 3), 3)):
        tiny.envs.unwrapped.render = lambda shown=shown: shown
        assert [image.shape for image in tiny.get_images()] == [(4, 6, 3)] * images
    tiny.envs.unwrapped.render = lambda: None
    assert tiny.get_images() == []
