"""A native Gymnasium batch as the VecEnv that Stable-Baselines3 trains on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn


class VectorEnvAdapter(VecEnv):
    """Drives a `gymnasium.vector.VectorEnv` through Stable-Baselines3's interface.

    A VecEnv starts the next episode in the step that ends one, and gives the last observation of
    the old one in the info. The batch must therefore leave resetting to the adapter
    (`autoreset_mode="disabled"`): in the other modes either a step without an action would enter
    the learner's memory, or the last observation is laid out differently by each environment.

    The info of a row is empty but for the step that ends an episode. What the batch reported as
    arrays is in `last_info`.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], reward_scale: float = 1.0) -> None:
        """Wraps a batch.

        Args:
            envs: The batch, in the mode DISABLED.
            reward_scale: The learner sees the reward divided by this constant.
        """
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise ValueError(
                f"the batch resets itself ({mode}); build it with autoreset_mode='disabled'"
            )
        if not reward_scale > 0:
            raise ValueError(f"reward_scale must be positive, not {reward_scale}")
        self.envs = envs
        self.reward_scale = reward_scale
        self.last_info: dict[str, Any] = {}
        self._actions: Any = None
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, dtype=np.int64)
        self._started = time.perf_counter()
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> VecEnvObs:
        """Starts an episode in every row, with the seeds and options that were set."""
        # VectorEnv is typed for one seed only, and takes one for each row.
        seeds: Any = None
        if self._seeds[0] is not None:
            seeds = [int(seed or 0) for seed in self._seeds]
        options = self._options[0] or None
        observation, self.last_info = self.envs.reset(seed=seeds, options=options)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self.reset_infos = [{} for _ in range(self.num_envs)]
        first: VecEnvObs = _copied(observation)
        return first

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Takes the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps every row, and starts a new episode where one ended."""
        observation, reward, terminated, truncated, info = self.envs.step(self._actions)
        self.last_info = info
        done = np.logical_or(terminated, truncated)
        self._returns += reward
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            final = _copied(observation)
            elapsed = round(time.perf_counter() - self._started, 6)
            for i in np.flatnonzero(done).tolist():
                infos[i]["terminal_observation"] = _row(final, i)
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
                infos[i]["episode"] = {
                    "r": float(self._returns[i]),
                    "l": int(self._lengths[i]),
                    "t": elapsed,
                }
            self._returns[done] = 0.0
            self._lengths[done] = 0
            observation, _ = self.envs.reset(options={"reset_mask": done})
        scaled = (np.asarray(reward) / self.reward_scale).astype(np.float32)
        return _copied(observation), scaled, done, infos

    def close(self) -> None:
        """Closes the batch."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        """Renders every row, or what the batch shows of itself in one picture."""
        frames: Any = self.envs.render()
        if frames is None:
            return []
        return [frames] if np.ndim(frames[0]) == 2 else list(frames)

    def has_attr(self, attr_name: str) -> bool:
        """Says whether the batch has an attribute."""
        return hasattr(self.envs.unwrapped, attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Gives an attribute of the batch once for each row."""
        if attr_name == "render_mode":
            value: Any = self.envs.render_mode
        else:
            value = getattr(self.envs.unwrapped, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of the batch, which all rows share."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"{attr_name!r} belongs to the whole batch, not to single rows")
        setattr(self.envs.unwrapped, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of the batch; an array with one entry for each row is split by row."""
        rows = list(self._get_indices(indices))
        result = getattr(self.envs.unwrapped, method_name)(*method_args, **method_kwargs)
        if isinstance(result, np.ndarray) and result.shape[:1] == (self.num_envs,):
            return [result[i] for i in rows]
        return [result for _ in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Single environments are never wrapped: there are none."""
        return [False for _ in self._get_indices(indices)]


def _copied(observation: Any) -> Any:
    """Copies, so that an environment may write its next observation into the same arrays."""
    if isinstance(observation, dict):
        return {name: np.array(values) for name, values in observation.items()}
    return np.array(observation)


def _row(observation: Any, i: int) -> Any:
    if isinstance(observation, dict):
        return {name: values[i] for name, values in observation.items()}
    return observation[i]
