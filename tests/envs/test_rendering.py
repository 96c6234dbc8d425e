"""Pictures show something, and the environment runs without them."""

import gymnasium as gym
import numpy as np

import stockyard.envs  # noqa: F401  (registers the ids)


def test_render_returns_a_picture_of_the_episode():
    """An rgb_array (H, W, 3) that is not blank."""
    env = gym.make("stockyard/Replenishment-v0", render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.zeros(12, np.float32))
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_render_mode_none_draws_nothing():
    """Training never pays for pictures."""
    env = gym.make("stockyard/Replenishment-v0")
    env.reset(seed=0)
    env.step(np.zeros(12, np.float32))
    assert env.unwrapped.frames == []
