"""The single environment: a batch of one."""

from typing import Any

import gymnasium as gym
import numpy as np

from stockyard.envs.inputs import check_action
from stockyard.envs.metrics import LazyFigures
from stockyard.envs.vector_env import NetworkVectorEnv


class NetworkEnv(gym.Env[Any, Any]):
    """One replica of `NetworkVectorEnv`, without the batch axis; bit for bit its row."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(self, task: str = "replenishment", **kwargs: Any) -> None:
        """Takes the keyword arguments of `NetworkVectorEnv`, except `num_envs`."""
        self._batch = NetworkVectorEnv(task, 1, autoreset_mode="disabled", **kwargs)
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self.render_mode = self._batch.render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; see `NetworkVectorEnv.reset`."""
        super().reset(seed=seed)
        observation, info = self._batch.reset(seed=seed)
        return _row(observation), _row(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one decision; see `NetworkVectorEnv.step`."""
        if isinstance(action, np.ndarray):
            actions: Any = action[None]
        else:
            actions = [action]
        try:
            observation, reward, terminated, truncated, info = self._batch.step(actions)
        except ValueError:
            check_action(action, self.action_space)  # says it in this environment's shape
            raise
        return (
            _row(observation),
            float(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            _row(info),
        )

    def action_masks(self) -> Any:
        """Which values of the entries of a discrete action are possible now."""
        return self._batch.action_masks()[0]

    def render(self) -> Any:
        """An RGB picture (H, W, 3)."""
        return self._batch.render()

    def close(self) -> None:
        """Lets go of the tapes."""
        self._batch.close()

    def __getattr__(self, name: str) -> Any:
        """Shows the attributes of the batch: `periods_per_step`, `specification` and so on."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._batch, name)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """The first row of every array in a nested mapping."""
    row: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, np.ndarray):  # first, for it is by far the most common
            row[name] = value[0]
        elif isinstance(value, dict):
            row[name] = _row(value)
        elif isinstance(value, LazyFigures):
            row[name] = value.map(_first)
        else:
            row[name] = value[0]
    return row


def _first(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value[0] for name, value in figures.items()}
