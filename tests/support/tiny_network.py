"""A batch environment that keeps the contract of stockyard's and is learned in seconds.

Each step shows a target between 0 and 10; the reward is minus the squared distance of the action
from it. In the mode "unit" the action is the same on [-1, 1].
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

ID = "tests/Tiny-v0"
SPLITS = {"train": 0, "validation": 1, "test": 2}


class TinyVectorEnv(VectorEnv):
    """B rows that end together after `horizon` periods, two periods a step."""

    reward_scale = 10.0
    periods_per_step = 2

    def __init__(
        self,
        num_envs: int = 1,
        horizon: int = 16,
        action: str = "unit",
        split: str = "train",
        autoreset_mode: str = "next_step",
        render_mode: str | None = None,
    ) -> None:
        """Takes the arguments that every environment of the suite takes."""
        if action not in ("unit", "quantity"):
            raise ValueError(f"unknown action mode {action!r}; known: unit, quantity")
        self.num_envs, self.horizon, self.action_mode, self.split = num_envs, horizon, action, split
        self.policy_mode = action
        self.steps_per_episode = horizon // self.periods_per_step
        self.render_mode = render_mode
        self.metadata = {"autoreset_mode": AutoresetMode[autoreset_mode.upper()]}
        self.specification = {"id": ID, "horizon": horizon, "action": action, "split": split}
        self.single_observation_space = spaces.Dict(
            {
                "target": spaces.Box(0.0, 10.0, (1,), np.float32),
                "elapsed": spaces.Box(0.0, float(horizon), (1,), np.float32),
            }
        )
        low = -1.0 if action == "unit" else 0.0
        high = 1.0 if action == "unit" else 10.0
        self.single_action_space = spaces.Box(low, high, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator] | None = None
        self.seeds: list[int] = []

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draws the targets of a whole episode."""
        if seed is not None or self._generators is None:
            seeds = (
                seed if isinstance(seed, list) else [(seed or 0) + i for i in range(self.num_envs)]
            )
            self.seeds = list(seeds)
            self._generators = [np.random.default_rng([SPLITS[self.split], s]) for s in seeds]
        self._step = 0
        self._targets = np.stack(
            [g.uniform(0, 10, self.steps_per_episode + 1) for g in self._generators], axis=1
        )
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Pays the squared distance."""
        quantity = np.asarray(actions, dtype=np.float64)[:, 0]
        if self.action_mode == "unit":
            quantity = 5.0 * (quantity + 1.0)
        miss = quantity - self._targets[self._step]
        over, short = np.maximum(miss, 0.0), np.maximum(-miss, 0.0)
        ledger = {"holding": -(over**2), "shortage": -(short**2)}
        metrics = {
            "in_stock_rate": (miss >= 0).astype(float),
            # not defined where nothing was asked for
            "fill_rate": np.where(self._targets[self._step] < 1.0, np.nan, 1.0 - short / 10.0),
        }
        self._step += 1
        truncated = np.full(self.num_envs, self._step == self.steps_per_episode)
        info = {"ledger": ledger, "metrics": metrics, "clip_fraction": np.zeros(self.num_envs)}
        reward = ledger["holding"] + ledger["shortage"]
        return self._observe(), reward, np.zeros(self.num_envs, bool), truncated, info

    def _observe(self) -> dict[str, Any]:
        elapsed = float(self._step * self.periods_per_step)
        return {
            "target": self._targets[self._step][:, None].astype(np.float32),
            "elapsed": np.full((self.num_envs, 1), elapsed, np.float32),
        }


class Constant:
    """Does the same always, in units."""

    action_mode = "quantity"

    def __init__(self, quantity: float = 5.0) -> None:
        """Takes the quantity."""
        self.quantity = quantity

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Decides."""
        return np.full((len(observation["target"]), 1), self.quantity, np.float32), state


class Perfect(Constant):
    """Hits the target."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Decides."""
        return observation["target"], state


def constant(env: Any, quantity: float = 5.0) -> Constant:
    """Builds `Constant` as a registered heuristic would be."""
    return Constant(quantity)


gym.register(ID, vector_entry_point=TinyVectorEnv)
